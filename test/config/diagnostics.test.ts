/** Every mistake that a YAML can have is found, with its exact place and words that say what to write. */
import { describe, expect, test } from '@jest/globals'
import { mistakes, withRules, withTop } from '../support/config-text.ts'

const listen = 'listen: { http: }'
const topKeys =
  'one of listen, layer, workers, journal, sync, admin, data, log, closeTimeout, drainTimeout, application'

test('a file without mistakes has none', async () => {
  expect(await mistakes(withTop(listen))).toEqual([])
  expect(
    await mistakes(withRules('{ path: /chat/:room, app: ./handlers.ts#chat }', '{ url: ^, app: ./handlers.ts#site }')),
  ).toEqual([])
})

describe('the file itself', () => {
  test.each<[string, string | Uint8Array, readonly string[]]>([
    ['empty', '', ['1:1 found an empty file, expected a map with listen and application']],
    ['only a comment', '# nothing\n', ['1:1 found an empty file, expected a map with listen and application']],
    ['a list', '- listen\n', ['1:1 found a list, expected a map with listen and application']],
    ['a word', 'listen\n', ['1:1 found "listen", expected a map with listen and application']],
    ['too large', `#${' '.repeat(1024 * 1024)}`, ['1:1 found a file of more than 1 MiB, expected a smaller one']],
    [
      'not UTF-8',
      Buffer.concat([Buffer.from('listen:\n  http: { address: "'), Buffer.from([0xff]), Buffer.from('" }\n')]),
      ['2:21 found bytes that are no UTF-8, expected a text file'],
    ],
    [
      'two documents',
      `${withTop(listen)}---\nlisten: {}\n`,
      ['3:1 found a second document, expected one document in the file'],
    ],
    ['an older YAML', `%YAML 1.1\n---\n${withTop(listen)}`, ['1:1 found YAML 1.1, expected 1.2']],
    [
      'nothing that is needed',
      'data: ./data\n',
      [
        '1:1 listen found no listen, expected it at the top of the file',
        '1:1 application found no application, expected it at the top of the file',
      ],
    ],
  ])('%s', async (_, text, expected) => {
    expect(await mistakes(text)).toEqual(expected)
  })
})

describe('syntax', () => {
  test.each<[string, string, readonly string[]]>([
    [
      'a tab',
      withTop('listen:', '\thttp:', 'dat: x'),
      [
        '2:1 listen.http found a tab as indentation, expected spaces',
        `3:1 dat found the unknown key "dat", expected ${topKeys}; did you mean "data"?`,
      ],
    ],
    ['a missing bracket', 'listen: { http: {\n', ['1:9 listen.http found { that is not closed, expected }']],
    [
      'a key twice',
      withTop(listen, 'data: a', 'data: b'),
      ['3:1 data found "data" a second time, expected it once; the first is in line 2'],
    ],
    [
      'an unknown tag',
      withTop(listen, 'data: !folder x'),
      ['2:7 data found the unknown tag !folder, expected a plain value; text that begins with ! stands in quotes'],
    ],
    [
      'an alias without an anchor',
      withTop(listen, 'data: *folder'),
      [
        '2:7 data found the alias *folder, expected an anchor &folder above it; text that begins with * stands in quotes',
      ],
    ],
    [
      'an alias inside of itself',
      withTop(listen, 'log: &log { level: *log }'),
      ['2:20 log.level found the alias *log inside of what it stands for'],
    ],
    [
      'a backslash in double quotes',
      withRules(String.raw`{ url: "^a\.b", app: ./handlers.ts#site }`),
      [
        String.raw`11:21 application.ProtocolTypeRouter.http.URLRouter[0].url found an invalid escape sequence \. in double quotes, expected one that YAML knows; in single quotes a backslash is a backslash`,
      ],
    ],
    [
      'a variable without quotes inside of braces',
      withTop('listen: { http: { address: ${ADDRESS:-1} } }'),
      ['1:29 listen.http.address found ${ without quotes inside of braces, expected quotes: "${NAME}"'],
    ],
  ])('%s', async (_, text, expected) => {
    expect((await mistakes(text)).slice(0, Math.max(expected.length, 1))).toEqual(expected)
  })

  test('aliases that stand for more than anyone would write', async () => {
    const bomb = Array.from({ length: 9 }, (_, level) => {
      const inner = level === 0 ? 'lol' : `*l${level - 1}`
      return `l${level}: &l${level} [${Array.from({ length: 10 }, () => inner).join(', ')}]`
    })
    const found = await mistakes(withTop(listen, ...bomb))
    expect(found).toContainEqual(
      expect.stringMatching(/^5:45 l3\[7\] found aliases that stand for more than 10000 values, expected fewer$/),
    )
  })

  test.each([100, 5_000, 200_000])('%i lists inside of each other', async (depth) => {
    const found = await mistakes(`listen: ${'['.repeat(depth)}${']'.repeat(depth)}\n`)
    expect(found).toContainEqual(expect.stringContaining('expected at most 64 levels'))
  })

  test.each([
    [1, 'closing braces', '}'],
    [1, 'maps without anything between them', '{}'],
    [1, 'closing braces, each in a line of its own', 'a: }\n'],
    [1001, 'opening quotes, each in a line of its own', '- "\n'],
    [1001, 'anchors beside each other', '- &a &b x\n'],
  ])('at most a thousand mistakes are told, %i of a megabyte of %s', async (count, _, part) => {
    const found = await mistakes(part.repeat(Math.floor(2 ** 20 / part.length)))
    expect(found).toHaveLength(count)
    const others = expect.stringContaining('found more than 1000 mistakes: the others are left out')
    if (count > 1) expect(found).toContainEqual(others)
  })

  test('aliases are fine where they save writing, and what is wrong in one is said where it stands', async () => {
    const text = [
      'listen:',
      '  http: { maxBody: &size 1MiB }',
      '  email: { maxSize: *size }',
      'application: ./handlers.ts#site',
    ].join('\n')
    expect(await mistakes(text)).toEqual([])
    expect(await mistakes(text.replace('1MiB', '1Mib'))).toEqual([
      '2:26 listen.http.maxBody found "1Mib", expected a size with its unit, such as 25MiB or 64KiB',
    ])
  })
})

describe('settings', () => {
  test.each<[string, string, readonly string[]]>([
    [
      'an unknown key',
      'layr: memory',
      [`2:1 layr found the unknown key "layr", expected ${topKeys}; did you mean "layer"?`],
    ],
    [
      'an unknown key below',
      'log: { levle: info }',
      ['2:8 log.levle found the unknown key "levle", expected level; did you mean "level"?'],
    ],
    [
      'a wrong choice',
      'log: { level: wran }',
      ['2:15 log.level found "wran", expected one of trace, debug, info, warn, error, silent; did you mean "warn"?'],
    ],
    ['a wrong type', 'data: [a]', ['2:7 data found a list, expected text']],
    ['an empty text', "data: ''", ['2:7 data found "", expected text that is not empty']],
    [
      'a value that was left out',
      'data:',
      ['2:1 data found nothing, expected a value; leave the key out for its default'],
    ],
    [
      'a duration without a unit',
      'closeTimeout: 5',
      ['2:15 closeTimeout found 5, expected a duration with its unit, such as 500ms, 30s or 5m'],
    ],
  ])('%s', async (_, line, expected) => {
    expect(await mistakes(withTop(listen, line))).toEqual(expected)
  })
})

describe('listen', () => {
  const idle = (protocol: string) =>
    `found listen.${protocol}, and no application for ${protocol} below ProtocolTypeRouter: nothing takes what comes there`

  test.each<[string, string, readonly string[]]>([
    [
      'an unknown protocol',
      '{ http: , mqqt: }',
      [
        '1:19 listen.mqqt found "mqqt", expected a protocol: one of http, websocket, mqtt, email, sms; did you mean "mqtt"?',
      ],
    ],
    [
      'a list',
      '[http]',
      [
        '1:9 listen found a list, expected a map of protocols, indented below it: one of http, websocket, mqtt, email, sms',
      ],
    ],
    [
      'nothing',
      '',
      [
        '1:1 listen found nothing, expected a map of protocols, indented below it: one of http, websocket, mqtt, email, sms',
      ],
    ],
    [
      'an unknown key',
      '{ http: { adress: "1" } }',
      [
        '1:19 listen.http.adress found the unknown key "adress", expected one of address, tls, maxBody, timeout; did you mean "address"?',
      ],
    ],
    [
      'an address without a port',
      '{ http: { address: localhost } }',
      ['1:28 listen.http.address found "localhost", expected host:port, such as 127.0.0.1:8000'],
    ],
    [
      'a number over its limit',
      '{ http: , mqtt: { clients: 500 } }',
      ['1:36 listen.mqtt.clients found 500, expected at most 100'],
    ],
    [
      'neither yes nor no',
      '{ http: , mqtt: { anonymous: maybe } }',
      ['1:38 listen.mqtt.anonymous found "maybe", expected true or false'],
    ],
    [
      'a missing setting',
      '{ http: , sms: { provider: { twilio: { publicUrl: "http://a" } } } }',
      ['1:46 listen.sms.provider.twilio.authToken found nothing, expected text'],
    ],
    [
      'a text that is no URL',
      '{ http: , sms: { provider: { twilio: { authToken: x, publicUrl: here } } } }',
      ['1:73 listen.sms.provider.twilio.publicUrl found "here", expected a URL'],
    ],
    [
      'a certificate that is not there',
      '{ http: { tls: { cert: a.pem, key: handlers.ts } } }',
      ['1:32 listen.http.tls.cert found "a.pem", which cannot be read, expected a PEM file'],
    ],
    [
      'what is unsafe off loopback',
      '{ http: , mqtt: { address: "0.0.0.0:1883", anonymous: true } }',
      [
        `1:19 listen.mqtt ${idle('mqtt')}`,
        '1:63 listen.mqtt.anonymous anonymous off loopback: write users, or listen on 127.0.0.1',
      ],
    ],
    [
      'no address to share',
      '{ mqtt: , websocket: {} }',
      [
        '1:19 listen.websocket found no address for websocket, expected one, or listen.http, whose address it would share',
        '2:38 application.ProtocolTypeRouter.http found an application for http, expected listen.http: nothing listens for it',
      ],
    ],
  ])('%s', async (_, value, expected) => {
    expect(await mistakes(withTop(`listen: ${value}`))).toEqual(expected)
  })

  test('an application that nothing listens for, unless it rides on the http listener', async () => {
    const application = (protocol: string) =>
      `listen: { http: }\napplication: { ProtocolTypeRouter: { ${protocol}: ./handlers.ts#site } }\n`
    expect(await mistakes(application('websocket'))).toEqual([])
    expect(await mistakes(application('channel'))).toEqual([])
    expect(await mistakes(application('lifespan'))).toEqual([])
    expect(await mistakes(application('mqtt'))).toEqual([
      '2:38 application.ProtocolTypeRouter.mqtt found an application for mqtt, expected listen.mqtt: nothing listens for it',
    ])
  })

  test('a listener that nothing is behind is warned of, unless others share its address', async () => {
    const application = (names: readonly string[]) =>
      ['listen:', '  http: ', '  mqtt:', '  email:', 'application:', '  ProtocolTypeRouter:']
        .concat(names.map((name) => `    ${name}: ./handlers.ts#site`))
        .join('\n')
    expect(await mistakes(application(['http', 'mqtt']))).toEqual([`4:3 listen.email ${idle('email')}`])
    expect(await mistakes(application(['websocket', 'mqtt', 'email']))).toEqual([])
    expect(await mistakes(application(['mqtt', 'email', 'channel']))).toEqual([`2:3 listen.http ${idle('http')}`])
    expect(await mistakes(application(['http', 'mqtt', 'sns']))).toEqual([
      expect.stringContaining('found "sns", expected a protocol'),
    ])
  })
})

test('ten different mistakes are ten places, in the order of the file', async () => {
  const text = [
    'listen:',
    '  http: { adress: "127.0.0.1:8000" }',
    '  mqtt: { clients: many }',
    '  email: { maxSize: 25 megabytes }',
    '  sms: { provider: { twilio: { authToken: secret-token, publicUrl: "${PUBLIC_URL}" } } }',
    'layer: memory',
    'layer: memory',
    'application:',
    '  ProtocolTypeRouter:',
    '    http: { URLRouter: [{ url: "(", app: ./handlers.ts#site }, { url: ^, app: ./handlers.ts#nobody }] }',
    '    websocket: *socket',
    '    mqtt: { TopicRouter: [{ topic: "#", app: ./handlers.ts#site }, { topic: a, app: ./handlers.ts#site }] }',
    '    email: !handler x',
    '',
  ].join('\n')
  const places = (await mistakes(text)).map((line) => line.split(' ', 2).join(' '))
  expect(places).toEqual([
    '2:11 listen.http.adress',
    '3:20 listen.mqtt.clients',
    '4:21 listen.email.maxSize',
    '5:69 listen.sms.provider.twilio.publicUrl',
    '7:1 layer',
    '10:32 application.ProtocolTypeRouter.http.URLRouter[0].url',
    '10:79 application.ProtocolTypeRouter.http.URLRouter[1].app',
    '11:16 application.ProtocolTypeRouter.websocket',
    '12:68 application.ProtocolTypeRouter.mqtt.TopicRouter[1]',
    '13:12 application.ProtocolTypeRouter.email',
  ])
})
