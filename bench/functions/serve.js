// The function of echo.js behind Node's own server: serve.js PORT.
'use strict';

const http = require('http');
const handle = require('./echo.js');

http
  .createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      if (request.method !== 'POST') {
        response.writeHead(405, { 'content-length': 0 }).end();
        return;
      }
      const body = Buffer.from(JSON.stringify(handle({}, JSON.parse(Buffer.concat(parts)))));
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body);
    });
  })
  .listen(Number(process.argv[2]), '127.0.0.1');
