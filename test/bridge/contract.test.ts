/** A consumer written twice, asynchronous and blocking, on every protocol: the same events give the same answers. */
import { afterAll, describe, expect, test } from '@jest/globals'
import type { Outcome } from '../../src/asgi/adapter.ts'
import type { Application, Event, Protocol } from '../../src/asgi/protocol.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import type { Consumer } from '../../src/consumers/consumer.ts'
import type { SyncConsumerClass } from '../../src/asgi/sync.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import * as twins from './fixtures/twins.ts'
import { emailScope, httpScope, mail, mqttScope, smsScope, websocketScope } from './scopes.ts'
import { fixture, openPool } from './support.ts'

const pool = openPool()
afterAll(() => pool.close())

type Step<P extends Protocol> = P['receive'] | { readonly group: Event } | 'last'

interface Seen {
  readonly handled: readonly unknown[]
  readonly sent: readonly unknown[]
  readonly words: readonly unknown[]
  readonly outcome: unknown
  readonly left: number
}

/** Plays the steps, each when the one before was handled; the last one is the scope's last. */
async function play<P extends Protocol>(
  application: Application<P>,
  scope: P['scope'],
  steps: readonly Step<P>[],
): Promise<Seen> {
  const layer = new MemoryLayer()
  const words: Event[] = []
  await layer.groupAdd('last-words', layer.newChannel({ deliverMessage: (word) => words.push(word) > 0 }))
  const communicator = new ApplicationCommunicator<P>(
    application,
    scope,
    { layer, timeout: 20_000 },
    (event, before) => {
      if (event.type === 'websocket.accept' && before !== 'none') {
        throw new SignalboxError('unexpected_event', 'accepted already')
      }
      return 'finished'
    },
  )
  const handled: unknown[] = []
  const sent: Event[] = []
  for (const [index, step] of steps.entries()) {
    if (typeof step === 'object' && 'group' in step) {
      await layer.groupSend('chat.kitchen', step.group)
      sent.push(await communicator.receiveOutput())
      continue
    }
    const last = index === steps.length - 1
    handled.push(await settled(communicator.sendInput(step as P['receive'], { last })))
  }
  const outcome = await communicator.wait()
  while (communicator.pending > 0) sent.push(await communicator.receiveOutput())
  const left = await layer.groupSize('chat.kitchen')
  return { handled, sent: sent.map(plain), words, outcome: told(outcome), left }
}

const settled = (promise: Promise<void>) => promise.then(() => 'handled', describeError)
const told = (outcome: Outcome) => (outcome.kind === 'raised' ? describeError(outcome.error) : outcome.kind)

function describeError(error: unknown) {
  if (!Error.isError(error)) return error
  return `${error.name} ${'code' in error ? String(error.code) : ''} ${error.message}`
}

/** Bytes of any realm and kind, to compare. */
function plain(value: unknown): unknown {
  if (ArrayBuffer.isView(value))
    return `bytes ${Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()}`
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, plain(part)]))
}

interface Case<P extends Protocol> {
  readonly async: { asApplication(): Application<never> } & (new () => Consumer<P>)
  readonly sync: SyncConsumerClass<P>
  readonly scope: () => P['scope']
  readonly steps: readonly Step<P>[]
  readonly expected: Partial<Seen>
}

async function same<P extends Protocol>({ async, sync, scope, steps, expected }: Case<P>) {
  const twin = await play<P>(async.asApplication(), scope(), steps)
  const blocking = await play(syncApplication(sync, fixture('twins.ts'), sync.name, { pool }), scope(), steps)
  expect(blocking).toEqual(twin)
  expect(blocking).toMatchObject(expected)
}

const connect = { type: 'websocket.connect' } as const
const disconnect = { type: 'websocket.disconnect', code: 1001, reason: 'away' } as const
const text = (said: string) => ({ type: 'websocket.receive', text: said }) as const
const websocket = { async: twins.WebsocketTwin, sync: twins.WebsocketSync, scope: websocketScope }

describe('websocket', () => {
  test('handshake, state, bytes, groups and close', async () => {
    const bytes = { type: 'websocket.receive', bytes: Buffer.from('abc') } as const
    const group = { group: { type: 'chat.message', text: 'hi' } as Event }
    await same({
      ...websocket,
      steps: [connect, text('a'), text('b'), bytes, group, text('c'), disconnect],
      expected: {
        outcome: 'finished',
        sent: [
          { type: 'websocket.accept', subprotocol: 'chat' },
          ...[{ text: '1 A' }, { text: '2 B' }, { bytes: 'bytes cba' }, { text: 'group: hi' }, { text: '4 C' }].map(
            (said) => ({
              type: 'websocket.send',
              ...said,
            }),
          ),
        ],
        words: [{ type: 'chat.message', text: '1001 away' }],
        left: 0,
      },
    })
  })

  test('the layer answers, and a message to its own group comes when the handler is done', async () => {
    await same({
      ...websocket,
      steps: [connect, text('members'), disconnect],
      expected: { sent: [{}, { text: '1 1 true' }, { text: 'group: all' }] },
    })
  })

  test('many answers to one event keep their order', async () => {
    const sent = Array.from({ length: 50 }, (_, n) => ({ text: String(n) }))
    await same({ ...websocket, steps: [connect, text('many'), disconnect], expected: { sent: [{}, ...sent] } })
  })

  test('a handler that raises: the disconnect handler runs, the groups are left, and the error goes on', async () => {
    await same({
      ...websocket,
      steps: [connect, text('fail')],
      expected: {
        handled: ['handled', 'TypeError E_WISH as you wish'],
        outcome: 'TypeError E_WISH as you wish',
        words: [{ type: 'chat.message', text: '1011 error' }],
        left: 0,
      },
    })
  })

  test('an event that the scope does not allow is an error in the handler', async () => {
    const outcome = 'SignalboxError unexpected_event accepted already'
    await same({ ...websocket, steps: [connect, text('wrong')], expected: { outcome } })
  })
})

test('http', async () => {
  const part = (body: string, moreBody: boolean) =>
    ({ type: 'http.request', body: Buffer.from(body), moreBody }) as const
  await same({
    async: twins.HttpTwin,
    sync: twins.HttpSync,
    scope: httpScope,
    steps: [part('one ', true), part('two ', true), part('three', false), { type: 'http.disconnect' }],
    expected: {
      outcome: 'finished',
      sent: [
        { type: 'http.response.start', status: 200, headers: [['content-type', 'text/plain']] },
        { type: 'http.response.body', body: 'POST ', moreBody: true },
        { type: 'http.response.body', body: 'bytes one two three' },
      ],
    },
  })
})

describe('mqtt', () => {
  const publish = (payload: string) =>
    ({
      type: 'mqtt.publish',
      topic: 't',
      payload: Buffer.from(payload),
      qos: 1,
      retain: false,
      dup: false,
      params: { room: 'hall' },
    }) as const
  const mqtt = { async: twins.MqttTwin, sync: twins.MqttSync, scope: mqttScope }

  test('publishes are summed up', async () => {
    await same({
      ...mqtt,
      steps: [
        { type: 'mqtt.connect' },
        publish('1.5'),
        publish('2'),
        { type: 'mqtt.disconnect', reason: 'disconnect' },
      ],
      expected: {
        outcome: 'finished',
        sent: [
          { type: 'mqtt.accept' },
          { type: 'mqtt.publish', topic: 'sums/hall', payload: '1.5', qos: 1, retain: true },
          { type: 'mqtt.publish', topic: 'sums/hall', payload: '3.5', qos: 1, retain: true },
          { type: 'mqtt.publish', topic: 'sums/last', payload: 'bytes 3.5' },
        ],
      },
    })
  })

  test('a publish that fails', async () => {
    await same({
      ...mqtt,
      steps: [{ type: 'mqtt.connect' }, publish('x')],
      expected: { handled: ['handled', 'Error  no number on t'], outcome: 'Error  no number on t' },
    })
  })
})

describe('email', () => {
  const email = { async: twins.EmailTwin, sync: twins.EmailSync, scope: emailScope }

  test('a mail with attachments is answered, and another one is sent', async () => {
    const attachment = {
      filename: 'a.txt',
      contentType: 'text/plain',
      contentId: '',
      inline: false,
      content: Buffer.from('file'),
    }
    await same({
      ...email,
      steps: [mail({ attachments: [attachment, attachment] })],
      expected: {
        outcome: 'finished',
        sent: [{ type: 'email.reply' }, { type: 'email.send', subject: 'news', text: 'fire' }],
      },
    })
  })

  test('a mail is refused', async () => {
    const sent = [{ type: 'email.reject', code: 554, text: 'no spam' }]
    await same({ ...email, steps: [mail({ subject: 'spam' })], expected: { sent, handled: ['handled'] } })
  })
})

describe('sms', () => {
  test('a text', async () => {
    await same({
      async: twins.SmsTwin,
      sync: twins.SmsSync,
      scope: smsScope,
      steps: [{ type: 'sms.message', body: 'hi', media: [], segments: 1, consent: '' }],
      expected: {
        outcome: 'finished',
        sent: [
          { type: 'sms.reply', body: '1: hi' },
          { type: 'sms.send', body: 'and you?' },
        ],
      },
    })
  })

  test('a report', async () => {
    await same({
      async: twins.SmsTwin,
      sync: twins.SmsSync,
      scope: () => smsScope('status'),
      steps: [{ type: 'sms.status', messageSid: 'SM1', status: 'delivered', errorCode: '' }],
      expected: { outcome: 'finished', sent: [{ type: 'sms.send', body: 'delivered' }] },
    })
  })
})
