/** Users, passwords and rights: who may come in, publish and subscribe, and what the options say about it. */
import { describe, expect, test } from '@jest/globals'
import fc from 'fast-check'
import { z } from 'zod'
import { Access, Rights } from '../../../protocols/mqtt/access.ts'
import { mqttOptions, refuseMqtt } from '../../../protocols/mqtt/options.ts'
import { hashPassword, parsePasswordHash, PasswordVerifier } from '../../../protocols/mqtt/password.ts'
import { bytes, connack, messagesOf, recorder, serveMqtt, until } from './support.ts'

/** As cheap as they come, so that tests are quick; made like the others. */
const cheap = {
  secret: 'scrypt$ln=1,r=1,p=1$c2FsdHNhbHRzYWx0$epgeT5w7ekrmCKhj2PqldY1OeOsbxra89ELSnerWPj4',
}

describe('a password hash', () => {
  test('verifies its password and no other, and never says it', async () => {
    const hash = await hashPassword('sesame')
    expect(hash).toMatch(/^scrypt\$ln=15,r=8,p=1\$[\w+/]{22}\$[\w+/]{43}$/)
    expect(await hashPassword('sesame')).not.toBe(hash)
    const verifier = new PasswordVerifier(new Map([['ann', hash]]))
    expect(await verifier.verify('ann', Buffer.from('sesame'))).toBe(true)
    expect(await verifier.verify('ann', Buffer.from('Sesame'))).toBe(false)
    expect(await verifier.verify('bob', Buffer.from('sesame'))).toBe(false)
    expect(await verifier.verify('ann', Buffer.alloc(0))).toBe(false)
  })

  test('is known again quickly: a thousand devices that come back at once cost one verification', async () => {
    const verifier = new PasswordVerifier(new Map([['ann', await hashPassword('sesame')]]))
    await verifier.verify('ann', Buffer.from('sesame'))
    const known = await Promise.all(Array.from({ length: 1000 }, () => verifier.verify('ann', Buffer.from('sesame'))))
    expect(new Set(known)).toEqual(new Set([true]))
  })

  test('does not stop the loop while it is verified, and only so many may wait', async () => {
    const verifier = new PasswordVerifier(new Map([['ann', cheap.secret]]))
    const guesses = Array.from({ length: 500 }, (_, index) => verifier.verify('ann', Buffer.from(String(index))))
    const answers = await Promise.all(guesses)
    expect(answers.filter((answer) => answer === undefined).length).toBeGreaterThan(200)
    expect(answers.filter((answer) => answer === false).length).toBeGreaterThan(200)
    expect(await verifier.verify('ann', Buffer.from('later'))).toBe(false)
  })

  test.each([
    '',
    'plain',
    'scrypt$ln=15,r=8,p=1$short$short',
    'scrypt$ln=40,r=8,p=1$c2FsdHNhbHRzYWx0$epgeT5w7ekrmCKhj2PqldY1OeOsbxra89ELSnerWPj4',
    '$2b$10$abcdefghijklmnopqrstuv',
  ])('%j is none', (text) => {
    expect(parsePasswordHash(text)).toBeUndefined()
  })

  test('with a leading dollar, as others write them, is one', () => {
    expect(parsePasswordHash(`$${cheap.secret}`)).toBeDefined()
  })
})

describe('rights', () => {
  const rights = (publish: string[], subscribe: string[] = [], clientId = 'c1') =>
    new Rights({ publish, subscribe }, 'ann', clientId)

  test('to publish are those of the filters, and never to $SYS', () => {
    const ann = rights(['sensors/%u/#', 'clients/%c', '$SYS/#', '$data/+'])
    const may = ['sensors/ann/x', 'sensors/ann', 'clients/c1', '$data/x']
    const mayNot = ['sensors/bob/x', 'sensors', 'clients/c2', '$SYS/x', '$SYS', 'other']
    expect([may.filter((topic) => !ann.mayPublish(topic)), mayNot.filter((topic) => ann.mayPublish(topic))]).toEqual([
      [],
      [],
    ])
    expect(rights(['#']).mayPublish('$data/x')).toBe(false)
    expect(rights([]).mayPublish('a')).toBe(false)
  })

  test('to subscribe cover all that the subscription would take', () => {
    const ann = rights([], ['sensors/+/temperature', 'own/%u/#'])
    const may = ['sensors/+/temperature', 'sensors/kitchen/temperature', 'own/ann/#', 'own/ann/+/x', 'own/ann']
    const mayNot = ['#', 'sensors/#', '+/+/temperature', 'own/+/x', 'own/#']
    expect([
      may.filter((filter) => !ann.maySubscribe(filter)),
      mayNot.filter((filter) => ann.maySubscribe(filter)),
    ]).toEqual([[], []])
    expect(ann.mayRead('own/ann/x')).toBe(true)
    expect(ann.mayRead('own/bob/x')).toBe(false)
  })

  test("are nobody else's because of what a client calls itself", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 8 }), fc.constantFrom('+', '#', '/', ''), fc.nat(8), (text, special, at) => {
        const clientId = text.slice(0, at) + special + text.slice(at)
        const client = rights(['devices/%c/x'], ['devices/%c/#'], clientId)
        expect(client.mayPublish('devices/another-one/x')).toBe(clientId === 'another-one')
        expect(client.maySubscribe('devices/+/x')).toBe(false)
        expect(client.maySubscribe('devices/another-one/x')).toBe(clientId === 'another-one')
      }),
    )
  })

  test('of a user are not those of nobody', () => {
    const nobody = new Rights({ publish: ['users/%u/x', 'open'], subscribe: [] }, '', 'c1')
    expect(['users//x', 'open'].map((topic) => nobody.mayPublish(topic))).toEqual([false, true])
  })

  test('of so many topics are remembered that memory has a bound', () => {
    const ann = rights(['a/#'])
    for (let index = 0; index < 5000; index++) expect(ann.mayPublish(`a/${index}`)).toBe(true)
  })
})

const users = [
  { name: 'ann', password: cheap.secret, publish: ['ann/#'], subscribe: ['ann/#', 'news'] },
  { name: 'bob', password: cheap.secret },
]

describe('logging in', () => {
  const login = (username?: string, password?: string) =>
    bytes.connect({
      flags: 2 | (username === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40),
      rest: [username, password].flatMap((text) => (text === undefined ? [] : [bytes.string(text)])),
    })

  test.each<[string, Readonly<Record<string, unknown>>, Buffer, number]>([
    ['with the right password', { anonymous: false, users }, login('ann', 'secret'), 0],
    ['with a wrong one', { anonymous: false, users }, login('ann', 'Secret'), 4],
    ['with none', { anonymous: false, users }, login('ann'), 4],
    ['as nobody we know', { anonymous: false, users }, login('eve', 'secret'), 4],
    ['as nobody', { anonymous: false, users }, login(), 5],
    ['as nobody, where that is allowed', { anonymous: true, users }, login(), 0],
    ['with a wrong password, where nobody is allowed too', { anonymous: true, users }, login('ann', 'x'), 4],
    ['with any name, where there are no users', { anonymous: true }, login('who', 'ever'), 0],
    ['with a name, where there is nothing', { anonymous: false }, login('who', 'ever'), 4],
  ])('%s', async (_, options, connect, code) => {
    const { application, scopes } = recorder()
    await using server = await serveMqtt(application, options)
    const client = await server.raw()
    client.send(connect)
    await client.until(/^.{4}/s)
    expect(client.text).toBe(connack(code))
    const username = 'users' in options && connect.includes('secret') ? 'ann' : ''
    expect(scopes.map((scope) => scope.username)).toEqual(code === 0 ? [username] : [])
  })

  test("a client id is its user's own: two users with one do not meet", async () => {
    const { application } = recorder()
    await using server = await serveMqtt(application, { users })
    const ann = await server.connect({ clientId: 'same', clean: false, username: 'ann', password: 'secret' })
    await ann.subscribeAsync('ann/#', { qos: 1 })
    const bob = await server.connect({ clientId: 'same', clean: false, username: 'bob', password: 'secret' })
    await bob.publishAsync('ann/x', 'hello', { qos: 1 })
    await until(() => messagesOf(ann).length === 1)
    expect([messagesOf(bob), ann.connected]).toEqual([[], true])
    await ann.endAsync()
    await bob.publishAsync('ann/x', 'secret', { qos: 1 })
    await bob.endAsync()
    const thief = await server.connect({ clientId: 'same', clean: false, username: 'bob', password: 'secret' })
    await thief.publishAsync('x', 'x', { qos: 1 })
    expect(messagesOf(thief)).toEqual([])
  })
})

describe('a user without the right', () => {
  test.each([0, 1, 2] as const)('publishes with QoS %i into nowhere, is answered as ever, and stays', async (qos) => {
    const { application, texts } = recorder()
    await using server = await serveMqtt(application, { users })
    const witness = await server.connect({ username: 'bob', password: 'secret' })
    await witness.subscribeAsync('#', { qos: 1 })
    const ann = await server.connect({ username: 'ann', password: 'secret' })
    await ann.publishAsync('bob/x', 'denied', { qos, retain: true })
    await ann.publishAsync('ann/x', 'granted', { qos: 1 })
    await until(() => messagesOf(witness).length === 1)
    expect([messagesOf(witness), texts()]).toEqual([['ann/x granted'], ['granted']])
    const late = await server.connect({ username: 'bob', password: 'secret' })
    await late.subscribeAsync('bob/#', { qos: 1 })
    await late.publishAsync('x', 'x', { qos: 1 })
    expect(messagesOf(late)).toEqual([])
  })

  test('is refused a subscription, which is not kept either', async () => {
    const { application, events } = recorder()
    await using server = await serveMqtt(application, { users, persistence: 'disk', maxQueued: 1 })
    const options = { clientId: 'device', clean: false, username: 'ann', password: 'secret' }
    const ann = await server.connect(options)
    const granted: number[] = []
    ann.on('packetreceive', (packet) => packet.cmd === 'suback' && granted.push(...(packet.granted as number[])))
    await ann.subscribeAsync(['ann/#', '#', 'bob/x', 'news'], { qos: 1 }).catch(() => undefined)
    expect(granted).toEqual([1, 0x80, 0x80, 1])
    expect(events.filter(({ type }) => type === 'mqtt.subscribe')).toHaveLength(2)
    await ann.endAsync()
    const bob = await server.connect({ username: 'bob', password: 'secret' })
    for (const topic of ['bob/x', 'other', 'news']) await bob.publishAsync(topic, 'x', { qos: 1 })
    const again = await server.connect(options)
    await until(() => messagesOf(again).length === 1)
    await again.publishAsync('ann/end', 'x', { qos: 1 })
    await until(() => messagesOf(again).length === 2)
    expect(messagesOf(again)).toEqual(['news x', 'ann/end x'])
  })

  test('whose will is not allowed is told so at CONNECT', async () => {
    const { application } = recorder()
    await using server = await serveMqtt(application, { users })
    const options = { username: 'ann', password: 'secret' }
    const will = (topic: string) => ({ topic, payload: Buffer.from('x'), qos: 1, retain: false }) as const
    await expect(server.connect({ ...options, will: will('bob/x') })).rejects.toThrow(/not authorized/i)
    await server.connect({ ...options, will: will('ann/x') })
  })
})

test('anonymous clients may have rights of their own', async () => {
  const { application, texts } = recorder()
  await using server = await serveMqtt(application, { anonymous: { publish: ['open/#'], subscribe: [] } })
  const client = await server.connect()
  await client.publishAsync('open/x', 'yes', { qos: 1 })
  await client.publishAsync('closed', 'no', { qos: 1 })
  await expect(client.subscribeAsync('open/x')).rejects.toThrow()
  expect(texts()).toEqual(['yes'])
})

test('of many that log in at once, no more come in than there is room for', async () => {
  const users = [{ name: 'ann', password: await hashPassword('sesame') }]
  await using server = await serveMqtt(recorder().application, { anonymous: false, users, maxClients: 2 })
  const clients = await Promise.all(Array.from({ length: 5 }, () => server.raw()))
  const login = [bytes.string('ann'), bytes.string('sesame')]
  for (const [index, client] of clients.entries())
    client.send(bytes.connect({ clientId: `device-${index}`, flags: 0xc2, rest: login }))
  await Promise.all(clients.map((client) => client.until(/^\x20\x02\x00[\s\S]/)))
  // Every one of them was looked at while there was room for all.
  expect(clients.map(({ text }) => text).toSorted()).toEqual([0, 0, 3, 3, 3].map(connack))
  for (const client of clients) client.end()
})

describe('the options', () => {
  const mistakes = (options: unknown) => {
    const result = mqttOptions.safeParse(options)
    return result.success ? [] : result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`)
  }

  test('have a default for everything, closed', () => {
    expect(mqttOptions.parse({})).toMatchObject({
      address: { host: '127.0.0.1', port: 1883 },
      anonymous: false,
      users: [],
      persistence: 'auto',
      maxPacketSize: 262_144,
      window: 32,
      drainTimeout: 10_000,
    })
  })

  test.each<[unknown, string]>([
    [{ anonymous: 'perhaps' }, 'anonymous: expected true, false, or the topic rules'],
    [{ users: [{ name: 'a', password: 'plain' }] }, 'users.0.password: expected the hash of a password'],
    [{ users: [...users, users[0]] }, 'users.2.name: the user ann stands twice'],
    [{ users: [{ ...users[0], publish: ['a/#/b'] }] }, 'users.0.publish.0: the topic filter "a/#/b" has a #'],
    [{ websocketPath: 'mqtt' }, 'websocketPath: expected a path such as /mqtt'],
    [{ websocketOrigins: ['panel'] }, 'websocketOrigins.0: expected an origin'],
    [{ maxPacketSize: '1B' }, 'maxPacketSize: expected 128B to 256MiB'],
    [{ maxTopicLevels: 101 }, 'maxTopicLevels: '],
    [{ what: 1 }, ': Unrecognized key'],
  ])('%j is a mistake', (options, words) => {
    expect(mistakes(options)).toEqual([expect.stringContaining(words)])
  })

  test('never repeat a password in a mistake', () => {
    expect(JSON.stringify(mistakes({ users: [{ name: 'a', password: 'hunter2' }] }))).not.toContain('hunter2')
  })

  test('can be written down as a JSON Schema', () => {
    expect(() => z.toJSONSchema(mqttOptions, { unrepresentable: 'any', io: 'input' })).not.toThrow()
  })

  const http = { address: { host: '127.0.0.1', port: 8000 } }
  const open = { address: { host: '0.0.0.0', port: 8000 } }
  test('refuse a Redis cluster, which sessions cannot be shared through, and say what to write', () => {
    const refused = (options: object) => refuseMqtt(mqttOptions.parse(options), { http, redisCluster: true })
    expect(refused({})).toEqual([
      { path: ['persistence'], message: expect.stringContaining('write persistence: disk at listen.mqtt') },
    ])
    expect([...refused({ persistence: 'disk' }), ...refused({ persistence: 'memory' })]).toEqual([])
  })

  test.each<[unknown, typeof http, boolean]>([
    [{ anonymous: true }, http, false],
    [{ anonymous: true, address: 'localhost:1883' }, open, false],
    [{ anonymous: true, address: '0.0.0.0:1883' }, http, true],
    [{ anonymous: { publish: [] }, address: '[::]:1883' }, http, true],
    [{ anonymous: false, address: '0.0.0.0:1883' }, http, false],
    [{ anonymous: true, websocketPath: '/mqtt' }, http, false],
    [{ anonymous: true, websocketPath: '/mqtt' }, open, true],
  ])('%j is refused off loopback: %j', (options, shared, refused) => {
    const refusals = refuseMqtt(mqttOptions.parse(options), { http: shared })
    expect(refusals.map(({ path }) => path)).toEqual(refused ? [['anonymous']] : [])
    for (const { message } of refusals) expect(message).toMatch(/not loopback.*write users/)
  })
})

test('Access does not tell apart by time who exists: an unknown name is verified as well', async () => {
  const access = new Access(users as never, undefined)
  expect(await access.logIn('c', 'nobody', Buffer.from('x'))).toBe(4)
  expect(access.identity('ann')).toBe('ann')
  expect(new Access([], undefined).identity('ann')).toBe('')
})
