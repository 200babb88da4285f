// The least of a Restate service that delivers: posts what it is given to the web hook, over kept connections.
//
// deliver.mjs PORT TARGET. A post that fails fails the invocation, and Restate tries again.
import http from "node:http";
import { createRequire } from "node:module";

// What the SDK takes for granted came with Node 22.
Promise.withResolvers ??= () => {
  const all = {};
  all.promise = new Promise((resolve, reject) => Object.assign(all, { resolve, reject }));
  return all;
};

const [port, target] = process.argv.slice(2);
// From where `bench/peers.sh` put it.
const restate = createRequire(process.cwd() + "/bench/out/installed/")("@restatedev/restate-sdk");
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

const post = (body) =>
  new Promise((resolve, reject) => {
    const headers = { "content-type": "application/cloudevents+json", "content-length": body.length };
    const request = http.request(target, { method: "POST", agent, headers }, (response) => {
      response.resume();
      response.on("end", () => (response.statusCode < 300 ? resolve() : reject(new Error(`${response.statusCode}`))));
    });
    request.on("error", reject);
    request.end(body);
  });

const deliver = restate.handlers.handler(
  { accept: "application/cloudevents+json", input: restate.serde.binary },
  async (_, body) => post(Buffer.from(body)),
);
restate.serve({ services: [restate.service({ name: "bench", handlers: { deliver } })], port: Number(port) });
