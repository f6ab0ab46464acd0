'use strict';

exports.keys = 'not a secret: nothing is signed';
exports.cluster = { listen: { hostname: '127.0.0.1' } };
exports.logger = { consoleLevel: 'NONE' };
