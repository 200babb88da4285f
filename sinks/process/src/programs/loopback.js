// Loaded before a server that would listen on every address: only this machine may reach a worker.
'use strict';

const net = require('net');

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...given) {
  const [first] = given;
  if (typeof first === 'number' || typeof first === 'string' && /^\d+$/.test(first)) {
    const rest = typeof given[1] === 'string' ? given.slice(2) : given.slice(1);
    return listen.call(this, Number(first), '127.0.0.1', ...rest);
  }
  if (first && typeof first === 'object' && first.port !== undefined) {
    return listen.call(this, { ...first, host: '127.0.0.1' }, ...given.slice(1));
  }
  return listen.apply(this, given);
};
