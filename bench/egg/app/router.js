'use strict';

module.exports = app => {
  app.router.get('/', async context => {
    context.body = 'hello from worker 0\n';
  });
  app.router.get('/whoami', async context => {
    context.body = { pid: process.pid };
  });
};
