/** `layer`, `workers` and `admin`: what they may say, what is made of it, and every mistake at its place. */
import { describe, expect, test } from '@jest/globals'
import { layerDefaults } from '../../src/layers/limits.ts'
import { loadText, mistakes } from '../support/config-text.ts'

const http = 'listen: { http: }'
const application = [
  'application:',
  '  ProtocolTypeRouter:',
  '    http: ./handlers.ts#site',
  '    channel:',
  '      accessLog:',
  '        app:',
  '          ChannelNameRouter:',
  '            - { channel: thumbs, app: ./handlers.ts#site }',
  '            - { channel: mails, app: { ChannelNameRouter: [{ channel: mails, app: ./handlers.ts#site }] } }',
  '            - { channel: lost, app: { ChannelNameRouter: [{ channel: found, app: ./handlers.ts#site }] } }',
  '',
].join('\n')
const withLine = (line: string) => [http, line, application].join('\n')

const environment = { SECRET: 'hunter2-from-outside', EMPTY: '' }
const of = (line: string) => mistakes(withLine(line), environment)
const loaded = async (line: string) => {
  const { config, diagnostics } = await loadText(withLine(line), environment)
  expect(diagnostics).toEqual([])
  return config
}

describe('layer', () => {
  const memory = {
    capacity: layerDefaults.capacity,
    expiry: { default: layerDefaults.expiry, named: layerDefaults.named, patterns: [] },
    groupExpiry: layerDefaults.groupExpiry,
    maxMessages: layerDefaults.maxMessages,
    maxMessageSize: layerDefaults.maxMessageSize,
    retry: { attempts: 5, delay: 1000, maxDelay: 60_000 },
  }
  const redis = {
    ...memory,
    url: 'redis://127.0.0.1:6379',
    prefix: 'signalbox',
    presenceTimeout: 15_000,
    claimAfter: 30_000,
    connectTimeout: 5000,
    answerTimeout: 10_000,
    maxDeadLetters: 1000,
  }

  test.each<[string, object]>([
    ['# left out', { kind: 'memory', options: memory }],
    ['layer: memory', { kind: 'memory', options: memory }],
    ['layer: { memory: {} }', { kind: 'memory', options: memory }],
    ['layer: redis', { kind: 'redis', options: redis }],
    ['layer: { redis: {} }', { kind: 'redis', options: redis }],
    [
      'layer: { memory: { capacity: 7, expiry: 5s, maxMessageSize: 1KiB, retry: { attempts: 1 } } }',
      {
        kind: 'memory',
        options: {
          ...memory,
          capacity: 7,
          expiry: 5000,
          maxMessageSize: 1024,
          retry: { attempts: 1, delay: 1000, maxDelay: 60_000 },
        },
      },
    ],
    [
      'layer: { redis: { capacity: { patterns: [{ channel: "thumb*", capacity: "5" }] }, expiry: { named: 2d } } }',
      {
        kind: 'redis',
        options: {
          ...redis,
          capacity: { default: 100, patterns: [{ channel: 'thumb*', capacity: 5 }] },
          expiry: { default: 60_000, named: 172_800_000, patterns: [] },
        },
      },
    ],
    [
      'layer: { redis: { url: "redis://127.0.0.1/3", username: ann, password: "${SECRET}", tls: "true", cluster: "false" } }',
      {
        kind: 'redis',
        options: {
          ...redis,
          url: 'redis://127.0.0.1/3',
          username: 'ann',
          password: 'hunter2-from-outside',
          tls: true,
          cluster: false,
        },
      },
    ],
    [
      'layer: { redis: { password: "${EMPTY}", tls: { ca: ./gateway.yaml, servername: redis.example.org } } }',
      { kind: 'redis', options: { ...redis, tls: { ca: './gateway.yaml', servername: 'redis.example.org' } } },
    ],
  ])('%s', async (line, expected) => {
    expect((await loaded(line))?.layer).toEqual(expected)
  })

  test.each<[string, readonly string[]]>([
    [
      'layer: rabbit',
      ['2:8 layer found "rabbit", expected one of memory, redis, or a map of one of them to its options'],
    ],
    ['layer: { rabbit: {} }', ['2:10 layer.rabbit found the unknown key "rabbit", expected one of memory, redis']],
    ['layer: {}', ['2:8 layer found a map, expected one of memory, redis']],
    ['layer: { memory: {}, redis: {} }', ['2:8 layer found a map, expected one of memory, redis']],
    [
      'layer: { redis: { retry: { atempts: 5 } } }',
      [
        '2:28 layer.redis.retry.atempts found the unknown key "atempts", expected one of attempts, delay, maxDelay; did you mean "attempts"?',
      ],
    ],
    [
      'layer: { memory: { url: x } }',
      [
        '2:20 layer.memory.url found the unknown key "url", expected one of capacity, expiry, groupExpiry, maxMessages, maxMessageSize, retry',
      ],
    ],
    [
      'layer: { redis: { database: x, presenceTimeout: 5ms, claimAfter: 5, maxMessageSize: 1B } }',
      [
        '2:29 layer.redis.database found "x", expected a number',
        '2:49 layer.redis.presenceTimeout found "5ms", expected 1s to 24d',
        '2:66 layer.redis.claimAfter found 5, expected a duration with its unit, such as 500ms, 30s or 5m',
        '2:85 layer.redis.maxMessageSize found "1B", expected 128B to 256MiB',
      ],
    ],
    [
      'layer: { redis: { prefix: "a b", expiry: 0s, capacity: { patterns: [{ channel: a b, capacity: 0 }] } } }',
      [
        '2:27 layer.redis.prefix found "a b", expected 1 to 50 characters of A-Z a-z 0-9 - _ . :',
        '2:42 layer.redis.expiry found "0s", expected a duration of more than nothing',
        '2:80 layer.redis.capacity.patterns[0].channel found "a b", expected the name of a channel, in which * stands for any text and ? for one character',
        '2:95 layer.redis.capacity.patterns[0].capacity found 0, expected at least 1',
      ],
    ],
    [
      'layer: { redis: { tls: { cert: a.pem } } }',
      ['2:24 layer.redis.tls found a map, expected cert and key together'],
    ],
    [
      'layer: { redis: { tls: { ca: nowhere.pem } } }',
      ['2:30 layer.redis.tls.ca found "nowhere.pem", which cannot be read, expected a PEM file'],
    ],
  ])('%s', async (line, expected) => {
    expect(await of(line)).toEqual(expected)
  })

  const expectedUrl =
    'expected a URL such as redis://127.0.0.1:6379, or rediss://redis.example.org/1 for TLS and a database'
  test.each([
    ['http://127.0.0.1', '"http://127.0.0.1"'],
    ['redis://', '"redis://"'],
    ['127.0.0.1:6379', '"127.0.0.1:6379"'],
    ['redis://127.0.0.1/zero', '"redis://127.0.0.1/zero"'],
    ['redis://ann:hunter2@127.0.0.1/zero', '"redis://ann:*******@127.0.0.1/zero"'],
    ['redis://ann:%zz@127.0.0.1', '"redis://ann:***@127.0.0.1"'],
    ['redis://ann:${SECRET}@127.0.0.1/zero', 'redis://ann:${SECRET}@127.0.0.1/zero'],
    ['${SECRET}', '${SECRET}'],
  ])('the URL %s is none, and no secret of it is said', async (url, shown) => {
    expect(await of(`layer: { redis: { url: "${url}" } }`)).toEqual([
      `2:24 layer.redis.url found ${shown}, ${expectedUrl}`,
    ])
  })

  test('what the URL has too is asked for once, and not shown', async () => {
    const { diagnostics } = await loadText(
      withLine('layer: { redis: { url: "redis://:hunter2@127.0.0.1/1", password: hunter3, database: 2 } }'),
    )
    expect(diagnostics.map(({ path, message }) => `${path} ${message}`)).toEqual([
      'layer.redis.password found a value that is not shown, expected it once: the url has one too',
      'layer.redis.database found 2, expected it once: the url has one too',
    ])
    expect(JSON.stringify(diagnostics)).not.toMatch(/hunter/)
  })
})

describe('workers', () => {
  const served = async (line: string) => (await loaded(line))?.workers

  test('left out, every channel is served that a rule names and takes, one message at a time', async () => {
    expect(await served('# nothing')).toEqual([
      { channel: 'thumbs', concurrency: 1 },
      { channel: 'mails', concurrency: 1 },
    ])
  })

  test('an empty list leaves them all to others', async () => {
    expect(await served('workers: []')).toEqual([])
  })

  test('a list names them, with or without a concurrency', async () => {
    expect(await served('workers: [mails, { channel: thumbs, concurrency: 4 }]')).toEqual([
      { channel: 'mails', concurrency: 1 },
      { channel: 'thumbs', concurrency: 4 },
    ])
  })

  test('one application for all channels serves those that are listed', async () => {
    const text = (line: string) =>
      `${http}\n${line}\napplication: { ProtocolTypeRouter: { http: ./handlers.ts#site, channel: ./handlers.ts#site } }\n`
    expect((await loadText(text('workers: [any]'))).config?.workers).toEqual([{ channel: 'any', concurrency: 1 }])
    expect((await loadText(text(''))).config?.workers).toEqual([])
  })

  test.each<[string, readonly string[]]>([
    ['workers: thumbs', ['2:10 workers found "thumbs", expected a list']],
    [
      'workers: [thumb, lost]',
      [
        '2:11 workers[0] found thumb, which no rule takes, expected one of thumbs, mails; did you mean "thumbs"?',
        '2:18 workers[1] found lost, which no rule takes, expected one of thumbs, mails',
      ],
    ],
    ['workers: [thumbs, mails, thumbs]', ['2:26 workers[2] found thumbs a second time, expected it once']],
    [
      'workers: [5, { chanel: x }, { channel: mails, concurrency: 0 }, a!b]',
      [
        '2:11 workers[0] found 5, expected the name of a channel, or { channel, concurrency }',
        '2:14 workers[1].channel found nothing, expected text',
        '2:16 workers[1].chanel found the unknown key "chanel", expected one of channel, concurrency; did you mean "channel"?',
        '2:60 workers[2].concurrency found 0, expected at least 1',
        '2:65 workers[3] found "a!b", expected the name of a channel: 1 to 100 characters of A-Z a-z 0-9 - _ .',
      ],
    ],
  ])('%s', async (line, expected) => {
    expect(await of(line)).toEqual(expected)
  })

  test('without a channel router there is nothing to serve, and it says where one would stand', async () => {
    const text = `${http}\nworkers: [thumbs]\napplication: { ProtocolTypeRouter: { http: ./handlers.ts#site } }\n`
    expect(await mistakes(text)).toEqual([
      '2:11 workers[0] found thumbs, which no rule takes, expected a rule of ChannelNameRouter below channel',
    ])
  })
})

describe('admin', () => {
  const address = { host: '127.0.0.1', port: 8100 }

  test.each<[string, object | undefined]>([
    ['# nothing', undefined],
    ['admin: {}', { address, maxBodySize: 2 ** 20 }],
    ['admin: { token: "${EMPTY:-}" }', { address, maxBodySize: 2 ** 20 }],
    [
      'admin: { address: "[::]:9000", token: "${SECRET}", maxBodySize: 4KiB }',
      { address: { host: '::', port: 9000 }, token: 'hunter2-from-outside', maxBodySize: 4096 },
    ],
  ])('%s', async (line, expected) => {
    expect((await loaded(line))?.admin).toEqual(expected)
  })

  const needed =
    'expected a token: 0.0.0.0:8100 is not loopback, and without one anybody could send. Write one, or listen on 127.0.0.1'
  test.each<[string, readonly string[]]>([
    ['admin: { address: "0.0.0.0:8100" }', [`2:8 admin.token found nothing, ${needed}`]],
    [
      'admin: { address: "0.0.0.0:8100", token: "${EMPTY:-}" }',
      [`2:42 admin.token found a value that is not shown, ${needed}`],
    ],
    [
      'admin: { token: "hunter 2" }',
      [
        '2:17 admin.token found a value that is not shown, expected a token of visible ASCII characters, without spaces',
      ],
    ],
    ['admin:', ['2:1 admin found nothing, expected a value; leave the key out for its default']],
  ])('%s', async (line, expected) => {
    expect(await of(line)).toEqual(expected)
  })
})
