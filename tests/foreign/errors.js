// What goes wrong, and what the client is told: calls that are refused, and faults inside a conversation that goes on.
'use strict';

const { call, converse, main } = require('./intone');

function refused(speech, first) {
  const { stream, ended } = converse(speech);
  stream.write(first);
  stream.end();
  return ended;
}

async function inside(speech, { config }) {
  const { stream, ended } = converse(speech);
  stream.write({ config });
  stream.write({ config });
  stream.write({ text: { utterance_id: 'bad', delta: 'ring \u0007', end_of_utterance: true } });
  stream.write({ interrupt: { utterance_ids: ['never-heard-of'] } });
  stream.write({ flush: { flush_id: 'x'.repeat(129) } });
  stream.write({ text: { utterance_id: 'good', delta: 'Still here.', end_of_utterance: true } });
  stream.end();
  const { events, status } = await ended;
  return { events: events.filter((event) => event.event !== 'audio'), status };
}

main(async ({ speech, voices }, script) => ({
  text_first: await refused(speech, { text: { utterance_id: 'u', delta: 'Hello.' } }),
  bad_rate: await refused(speech, { config: { format: { sample_rate_hz: 12345 } } }),
  bad_steps: await refused(speech, { config: { defaults: { engine_parameters: { steps: 1000 } } } }),
  no_voice: await call(voices, 'GetVoice', { name: 'nobody' }),
  too_long: await call(speech, 'AnalyzeEmotion', { text: 'Hooray! '.repeat(1000) }),
  inside: await inside(speech, script),
}));
