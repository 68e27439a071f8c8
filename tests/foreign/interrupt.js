// Barge-in inside a conversation that goes on, and a call that is dropped in mid-speech.
'use strict';

const { call, converse, main } = require('./intone');

async function bargeIn(speech, { config, text, sample }) {
  let interrupted = false;
  const { stream, ended } = converse(speech, (event) => {
    if (event.event === 'audio' && !interrupted) {
      interrupted = true;
      const played = { utterance_id: 'first', sample };
      stream.write({ interrupt: { interrupt_id: 'barge-in', utterance_ids: ['first'], played } });
    }
    if (event.event === 'interrupted') {
      stream.write({ text: { utterance_id: 'second', delta: 'Go on.', end_of_utterance: true } });
      stream.write({ finish: {} });
    }
  });
  stream.write({ config });
  stream.write({ text: { utterance_id: 'first', delta: text, end_of_utterance: true } });
  return ended;
}

async function drop(speech, { config, text }) {
  const { stream, ended } = converse(speech, (event) => {
    if (event.event === 'audio') stream.cancel();
  });
  stream.write({ config });
  stream.write({ text: { utterance_id: 'first', delta: text, end_of_utterance: true } });
  const { status } = await ended;
  for (let tries = 0; tries < 100; tries += 1) {
    const { response } = await call(speech, 'GetServerInfo', {});
    if (response.open_stream_count === 0) return { status, open_stream_count: 0 };
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
  return { status, open_stream_count: 'still open after 5 s' };
}

main(async ({ speech }, script) => ({
  barge_in: await bargeIn(speech, script),
  dropped: await drop(speech, script),
}));
