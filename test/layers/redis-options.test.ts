/** How the Redis layer connects: password, user, database, prefix, TLS. */
import { afterEach, expect, test } from '@jest/globals'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Event } from '../../src/asgi/protocol.ts'
import { RedisLayer } from '../../src/layers/redis.ts'
import type { RedisLayerOptions } from '../../src/layers/redis-options.ts'
import { requires } from '../support/requirements.ts'
import { text, until } from './messages.ts'
import { RedisServer, freePort } from './redis-server.ts'
import { talk } from './talk.ts'

const servers: RedisServer[] = []
const layers: RedisLayer[] = []

afterEach(async () => {
  for (const layer of layers.splice(0)) await layer.close()
  for (const server of servers.splice(0)) await server.stop()
})

async function start(...args: readonly string[]): Promise<RedisServer> {
  const server = await RedisServer.start(...args)
  servers.push(server)
  return server
}

async function open(options: RedisLayerOptions): Promise<RedisLayer> {
  const layer = await RedisLayer.open(options)
  layers.push(layer)
  return layer
}

requires('redis-server', 'redis-cli').describe('options', () => {
  test('a password, in the URL or beside it', async () => {
    const { port, url } = await start('--requirepass', 'secret word')
    await talk(
      await open({ url, password: 'secret word' }),
      await open({ url: `redis://:secret%20word@127.0.0.1:${port}` }),
    )
  })

  test('a user who may only what the layer does', async () => {
    const server = await start()
    const rules = [
      'on',
      '>pass',
      '~signalbox:*',
      '~{signalbox:*',
      '&signalbox:*',
      '+@all',
      '-@admin',
      '-@dangerous',
      '+info',
      '+client|unblock',
    ]
    await server.cli('ACL', 'SETUSER', 'gateway', ...rules)
    const options = { url: server.url, username: 'gateway', password: 'pass' }
    await talk(await open(options), await open(options))
    expect(await server.cli('ACL', 'LOG')).toBe('')
  })

  test('a wrong password is said in the log, and the process goes on alone', async () => {
    const { url } = await start('--requirepass', 'secret')
    const errors: unknown[] = []
    const ignore = () => {}
    const log = {
      trace: ignore,
      debug: ignore,
      info: ignore,
      warn: ignore,
      error: (fields: object) => void errors.push(fields),
      child: () => log,
    }
    const layer = await open({ url, password: 'wrong', connectTimeout: 50, log })
    await until(() => errors.length > 0)
    expect(errors).toMatchObject([{ err: { message: expect.stringContaining('WRONGPASS') } }])
    await expect(layer.groupSend('chat', text('hi'))).resolves.toEqual({ delivered: 0, dropped: 0 })
  })

  test('a database of its own for the keys', async () => {
    const server = await start()
    const [a, b, c] = [
      await open({ url: server.url, database: 3 }),
      await open({ url: `${server.url}/3` }),
      await open({ url: server.url }),
    ]
    await talk(a, b)
    await a.send('work', text('3'))
    await c.send('work', text('0'))
    await expect(c.receive('work')).resolves.toEqual(text('0'))
    expect(await server.cli('-n', '3', 'XLEN', 'signalbox:channel:work')).toBe('1')
  })

  test('two prefixes are two systems on one server', async () => {
    const { url } = await start()
    const [a, b, other] = [
      await open({ url, prefix: 'a' }),
      await open({ url, prefix: 'a' }),
      await open({ url, prefix: 'b' }),
    ]
    const got: Event[] = []
    await other.groupAdd('chat', other.newChannel({ deliverMessage: (message) => got.push(message) > 0 }))
    await talk(a, b)
    expect([await a.groupSize('chat'), await other.groupSize('chat')]).toEqual([1, 1])
    await a.flush()
    await other.groupSend('chat', text('own'))
    expect(got).toEqual([text('own')])
  })

  requires('redis-server', 'redis-cli', 'openssl').test('TLS, with a certificate that is checked', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'signalbox-tls-'))
    try {
      const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
      const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1']
      execFileSync(
        'openssl',
        ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert, ...subject],
        { stdio: 'ignore' },
      )
      const plain = await start(
        '--tls-cert-file',
        cert,
        '--tls-key-file',
        key,
        '--tls-ca-cert-file',
        cert,
        '--tls-auth-clients',
        'no',
      )
      const tlsPort = await freePort()
      await plain.cli('CONFIG', 'SET', 'tls-port', String(tlsPort))
      const ca = readFileSync(cert)
      const urls = [`rediss://127.0.0.1:${tlsPort}`, `redis://127.0.0.1:${tlsPort}`]
      const [a, b] = [
        await open({ url: urls[0] as string, tls: { ca } }),
        await open({ url: urls[1] as string, tls: { ca } }),
      ]
      await talk(a, b)
      const distrustful = await open({ url: urls[0] as string, tls: true, connectTimeout: 50 })
      expect(distrustful.stats().connected).toBe(false)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
