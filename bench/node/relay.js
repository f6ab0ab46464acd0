// Messages from one worker to all others by way of the primary, as egg's messenger and Node's `process.send` do it.
// `node relay.js RECEIVERS COUNT SIZE PAUSE_US`
'use strict';

const cluster = require('node:cluster');
const fs = require('node:fs');

const [receivers, count, size, pause] = process.argv.slice(2).map(Number);
const now = () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e6));
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};
const tell = ({ before = 0, ...fields }) =>
  fs.writeSync(1, `${JSON.stringify({ ...fields, at: Number(now()), cpu: cpu() - before })}\n`);

if (cluster.isPrimary) {
  const workers = [];
  let awaited = receivers + 1;
  cluster.on('message', (from, message) => {
    if (message.ready) {
      awaited -= 1;
      if (awaited === 0) workers[0].send({ begin: true });
    } else {
      for (const worker of workers.slice(1)) worker.send(message);
    }
  });
  for (let index = 0; index <= receivers; index += 1) workers.push(cluster.fork({ SENDER: index === 0 ? '1' : '' }));
} else if (process.env.SENDER) {
  const filling = 'x'.repeat(Math.max(0, size - 40));
  let left = count;
  // Node queues without a limit; waiting for the callback keeps its memory in bounds.
  const next = () => {
    if (left === 0) return tell({ role: 'end' });
    left -= 1;
    const message = { sent: Number(now()), filling };
    if (pause > 0) process.send(message, () => setTimeout(next, pause / 1000));
    else if (left % 100 === 0) process.send(message, next);
    else {
      process.send(message);
      next();
    }
    return undefined;
  };
  process.on('message', () => {
    tell({ role: 'begin' });
    next();
  });
  process.send({ ready: true });
} else {
  const latencies = [];
  let received = 0;
  let before = 0;
  process.on('message', (message) => {
    if (received === 0) before = cpu();
    received += 1;
    if (pause > 0) latencies.push(Number(now()) - message.sent);
    if (received === count) {
      tell({ role: 'receiver', before, received, latencies });
    }
  });
  process.send({ ready: true });
}
