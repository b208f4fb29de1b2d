/** `group send` and `channel send`: through the gateway that runs, or through Redis, and what they say when neither is there. */
import { describe, expect, test } from '@jest/globals'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { RedisLayer } from '../../src/layers/redis.ts'
import { RedisServer, freePort } from '../layers/redis-server.ts'
import { Running, run, toyMain } from '../support/child.ts'
import { temporaryFolder } from '../support/config-text.ts'
import { requires } from '../support/requirements.ts'

const message = '{"type":"chat.message","text":"hi"}'

async function folderWith(...lines: readonly string[]) {
  const place = await temporaryFolder()
  const text = ['listen: { http: { address: 127.0.0.1:0 } }', 'application: ./handlers.ts#site', ...lines, ''].join(
    '\n',
  )
  await writeFile(path.join(place.folder, 'gateway.yaml'), text)
  return place
}
const environment = { SECRET: 'hunter2-from-outside' }
type Place = Awaited<ReturnType<typeof folderWith>>
const send = ({ folder }: Place, ...given: readonly string[]) => run(toyMain, given, { folder, environment })

describe('with the memory layer', () => {
  const inside = 'gateway.yaml: found the memory layer, which is inside of the gateway'

  test('it goes through the admin listener of the gateway that runs', async () => {
    const port = await freePort()
    await using place = await folderWith(`admin: { address: 127.0.0.1:${port}, token: "\${SECRET}" }`)
    await using gateway = new Running(toyMain, ['serve'], { folder: place.folder, environment })
    await gateway.sees('out', new RegExp(`admin +http://127.0.0.1:${port}\n +try: npx signalbox stats`))
    expect(await send(place, 'group', 'send', 'chat', message)).toEqual({
      code: 0,
      out: 'sent to group chat: 0 members got it, 0 had no room for it\n',
      error: '',
    })
    expect(await send(place, 'channel', 'send', 'work', message)).toEqual({
      code: 0,
      out: 'sent to channel work\n',
      error: '',
    })
    expect(await send(place, 'channel', 'send', 'gone!1', message)).toEqual({
      code: 1,
      out: '',
      error: 'the gateway answers 404: no process has channel gone!1: its consumer is gone\n',
    })
    const stranger = await run(toyMain, ['group', 'send', 'chat', message], {
      folder: place.folder,
      environment: { SECRET: 'another-one' },
    })
    expect(stranger).toMatchObject({ code: 1, out: '' })
    expect(stranger.error).toMatch(/^the gateway answers 401: Expected the token/)
  })

  test.each<[string, readonly string[], string]>([
    [
      'without an admin listener',
      [],
      `${inside}, and no admin listener, expected admin: { address: 127.0.0.1:8100 }\n`,
    ],
    [
      'with one on any free port',
      ['admin: { address: 127.0.0.1:0 }'],
      `${inside}, and its admin listener on any free port (127.0.0.1:0), expected a port of its own\n`,
    ],
    ['with mistakes in the file', ['layr: memory'], 'did you mean "layer"'],
  ])('%s', async (_, lines, expected) => {
    await using place = await folderWith(...lines)
    const { code, out, error } = await send(place, 'channel', 'send', 'work', message)
    expect({ code, out }).toEqual({ code: 78, out: '' })
    expect(error).toContain(expected)
  })

  test('while no gateway runs', async () => {
    const address = `127.0.0.1:${await freePort()}`
    await using place = await folderWith(`admin: { address: ${address} }`)
    expect(await send(place, 'group', 'send', 'chat', message)).toEqual({
      code: 1,
      out: '',
      error: `the connection to ${address} is refused: is the gateway running?\n`,
    })
  })
})

requires('redis-server', 'redis-cli').describe('with the Redis layer', () => {
  test('it goes through Redis, whether a gateway runs or not', async () => {
    const server = await RedisServer.start('--requirepass', environment.SECRET)
    try {
      const login = `password: "\${SECRET}"`
      await using place = await folderWith(`layer: { redis: { url: "${server.url}", ${login}, prefix: ours } }`)
      expect(await send(place, 'channel', 'send', 'work', message)).toEqual({
        code: 0,
        out: 'sent to channel work\n',
        error: '',
      })
      expect(await server.cli('--no-auth-warning', '-a', environment.SECRET, 'XLEN', 'ours:channel:work')).toBe('1')
      expect(await send(place, 'group', 'send', 'chat', message)).toEqual({
        code: 0,
        out: 'sent to group chat, which has 0 members\n',
        error: '',
      })
      expect(await send(place, 'channel', 'send', 'gone!1', message)).toEqual({
        code: 1,
        out: '',
        error: 'no process has this channel\n',
      })
      const layer = await RedisLayer.open({ url: server.url, password: environment.SECRET, prefix: 'ours' })
      const channel = layer.newChannel({ deliverMessage: () => true })
      for (const name of [channel, channel.replace('!', '!9')]) {
        expect(await send(place, 'channel', 'send', name, message)).toEqual({
          code: 0,
          out: `sent to the process of channel ${name}: whether the channel is still open there it does not say\n`,
          error: '',
        })
      }
      await layer.close()
      const stranger = await run(toyMain, ['channel', 'send', 'work', message], {
        folder: place.folder,
        environment: { SECRET: 'wrong-word' },
      })
      expect(stranger).toMatchObject({ code: 1, out: '' })
      expect(stranger.error).toMatch(/^Redis refuses the login \(WRONGPASS .*\): look at username and password/)
      expect(stranger.error).not.toMatch(/wrong-word/)
    } finally {
      await server.stop()
    }
  })

  test('a Redis that is not there is an error at once', async () => {
    await using place = await folderWith(`layer: { redis: { url: "redis://127.0.0.1:${await freePort()}" } }`)
    const { code, out, error } = await send(place, 'group', 'send', 'chat', message)
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(error).toMatch(/^Redis cannot be used: .*refused/i)
  })

  test('one that says nothing is waited for as long as it is told', async () => {
    const server = await RedisServer.start()
    try {
      await using place = await folderWith(`layer: { redis: { url: "${server.url}" } }`)
      server.hang()
      expect(await send(place, 'group', 'send', 'chat', message, '--timeout', '300ms')).toEqual({
        code: 1,
        out: '',
        error: 'no answer within 300ms\n',
      })
    } finally {
      await server.stop()
    }
  })
})
