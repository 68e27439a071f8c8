// One conversation: the config, the pieces of each utterance as they are written, half-close.
'use strict';

const { converse, main } = require('./intone');

main(async ({ speech }, { config, messages }) => {
  const { stream, ended } = converse(speech);
  stream.write({ config });
  for (const message of messages) stream.write(message);
  stream.end();
  return ended;
});
