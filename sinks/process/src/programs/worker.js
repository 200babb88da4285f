// Runs one Node.js function for Dispatch.
//
// Started by the process engine with the path of a Unix-domain socket. Frames on it: a 32-bit big-endian
// length, then JSON. The first frame is {"load": {"folder", "handler", "maxResult"}}; every later one is a
// function message {"context", "payload"} and is answered with one. Standard output and standard error belong
// to the function; writes to them are synchronous on pipes, so the engine finds there what the call wrote.
'use strict';

const fs = require('fs');
const net = require('net');
const path = require('path');
const { pathToFileURL } = require('url');

const MAX_MESSAGE = 8 * 1024;
const MAX_TRACE = 64;

const exit = process.exit.bind(process);
const socket = net.connect(process.argv[2]);
process.argv.length = 2;

let handler = null;
let maxResult = 0;
let busy = false;

function send(text, sent) {
  const body = Buffer.from(text);
  const head = Buffer.allocUnsafe(4);
  head.writeUInt32BE(body.length);
  socket.write(Buffer.concat([head, body]), sent);
}

function failure(kind, error, retire) {
  const isError = error instanceof Error;
  const message = String((isError ? error.message : error) || (isError ? error.name : 'the function failed'));
  const lines = isError && typeof error.stack === 'string' ? error.stack.split('\n') : [];
  const stacktrace = lines.filter((line) => !line.includes(__filename)).slice(0, MAX_TRACE).map((line) => line.slice(0, 1024));
  const body = { type: kind, message: message.slice(0, MAX_MESSAGE), stacktrace };
  return JSON.stringify({ context: { error: body, retire: !!retire }, payload: null });
}

async function load(folder, name) {
  let file = name;
  if (!file) {
    [file] = fs.readdirSync(folder);
  }
  const full = path.resolve(folder, file);
  if (!full.startsWith(folder + path.sep)) {
    throw new Error(`${file} is outside the function's folder`);
  }
  let found;
  try {
    found = require(full);
  } catch (error) {
    if (error.code !== 'ERR_REQUIRE_ESM') throw error;
    found = await import(pathToFileURL(require.resolve(full)));
  }
  if (typeof found !== 'function' && found && typeof found.default === 'function') found = found.default;
  if (typeof found !== 'function') throw new Error(`${file} does not export a function`);
  return found;
}

async function call(body) {
  let message;
  try {
    message = JSON.parse(body);
  } catch (error) {
    return failure('InputError', new Error(`Invalid Input: ${error.message}`));
  }
  let result;
  try {
    result = await handler(message.context, message.payload);
  } catch (error) {
    return failure(error instanceof TypeError ? 'InputError' : 'FunctionError', error);
  }
  let text;
  try {
    text = JSON.stringify(result);
    if (text === undefined) text = 'null';
  } catch (error) {
    return failure('FunctionError', new Error(`the result cannot be written as JSON: ${error.message}`));
  }
  const size = Buffer.byteLength(text);
  if (size > maxResult) {
    return failure('FunctionError', new Error(`the result has ${size} bytes; a result has at most ${maxResult}`));
  }
  return `{"context":{"error":null},"payload":${text}}`;
}

async function receive(body) {
  if (handler) {
    busy = true;
    const answer = await call(body);
    if (!busy) return; // Answered already, by an error outside of the call's own promise.
    busy = false;
    send(answer);
    return;
  }
  const order = JSON.parse(body).load;
  maxResult = order.maxResult;
  try {
    handler = await load(order.folder, order.handler);
    send('{"ok":true}');
  } catch (error) {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    send(JSON.stringify({ error: text.slice(0, MAX_MESSAGE) }));
  }
}

// An error outside of any promise the call awaits leaves the process in an unknown state: it ends after telling.
function broken(error) {
  try {
    fs.writeSync(2, `${(error && error.stack) || error}\n`);
  } catch (_) { /* the log is gone; the answer still tells */ }
  if (!busy) exit(1);
  busy = false;
  send(failure('FunctionError', error, true), () => exit(1));
}
process.on('uncaughtException', broken);
process.on('unhandledRejection', broken);

let parts = [];
let have = 0;
let wanted = -1;
socket.on('data', (part) => {
  parts.push(part);
  have += part.length;
  for (;;) {
    if (wanted < 0) {
      if (have < 4) return;
      if (parts.length > 1) parts = [Buffer.concat(parts)];
      wanted = parts[0].readUInt32BE(0);
    }
    if (have < wanted + 4) return;
    const all = parts.length > 1 ? Buffer.concat(parts) : parts[0];
    const body = all.toString('utf8', 4, wanted + 4);
    const rest = all.subarray(wanted + 4);
    parts = rest.length ? [rest] : [];
    have = rest.length;
    wanted = -1;
    receive(body);
  }
});
socket.on('end', () => exit(0));
socket.on('error', () => exit(0));
