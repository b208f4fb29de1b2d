/** A Redis that refuses what it is asked: which right is missing is said once, and the layer does not seem to be whole. */
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals'
import { RedisLayer } from '../../src/layers/redis.ts'
import { requires } from '../support/requirements.ts'
import { collecting } from './collecting.ts'
import { text, until, wordsOf } from './messages.ts'
import { RedisServer, freePort } from './redis-server.ts'

describeOn('one server', [], 'SUBSCRIBE')
describeOn('a cluster', ['--cluster-enabled', 'yes'], 'SSUBSCRIBE')

function describeOn(what: string, options: readonly string[], subscribe: string): void {
  requires('redis-server', 'redis-cli').describe(`rights on ${what}`, () => {
    let server: RedisServer
    const layers: RedisLayer[] = []
    const lines: string[] = []

    beforeAll(async () => {
      server = await RedisServer.start(
        ...options,
        ...(options.length > 0 ? ['--cluster-port', String(await freePort())] : []),
      )
      if (options.length === 0) return
      await server.cli('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
      await until(async () => (await server.cli('CLUSTER', 'INFO')).includes('cluster_state:ok'))
    })

    afterEach(async () => {
      for (const layer of layers.splice(0)) await layer.close()
      lines.length = 0
    })

    afterAll(async () => {
      await server.stop()
    })

    const user = (...rules: readonly string[]) => server.cli('ACL', 'SETUSER', 'gateway', 'on', '>secret', ...rules)

    const open = async (username?: string) => {
      const layer = await RedisLayer.open({
        url: server.url,
        presenceTimeout: 300,
        ...(username !== undefined && { username, password: 'secret', log: collecting(lines) }),
      })
      layers.push(layer)
      return layer
    }

    const member = async (layer: RedisLayer) => {
      const got: string[] = []
      await layer.groupAdd('chat', layer.newChannel({ deliverMessage: (message) => got.push(wordsOf(message)) > 0 }))
      return got
    }

    const about = (words: string) => lines.filter((line) => line.includes(words))

    test('to hear: the layer is not connected until it is given them, and says once which is missing', async () => {
      await user('reset', 'on', '>secret', '+@all', 'allkeys', 'resetchannels')
      const [layer, other] = [await open('gateway'), await open()]
      await until(() => layer.stats().connected === false && about('hearing').length > 0)
      const got = await member(layer)
      // Longer than the pause before it is tried again.
      await new Promise((resolve) => setTimeout(resolve, 1200))
      expect(about('hearing')).toEqual([expect.stringMatching(/^error hearing from other processes fails: NOPERM /)])
      expect(layer.stats().connected).toBe(false)
      await user('allchannels')
      await until(() => layer.stats().connected === true)
      expect(about('hearing').slice(1)).toEqual(['info hearing from other processes goes on'])
      await until(async () => {
        await other.groupSend('chat', text('hi'))
        return got.includes('hi')
      })
    })

    test.each([
      [
        'a wrong password',
        { username: 'gateway', password: 'secret' },
        /^error Redis refuses the login \(WRONGPASS .*\): /,
      ],
      ['no password', {}, /^error Redis refuses the login \(NOAUTH .*\): /],
    ])(
      'to log in with %s: what Redis says, and where to look, once; and it is there when that is mended',
      async (_, login, said) => {
        await user('reset', 'on', '>another', '+@all', 'allkeys', 'allchannels')
        await server.cli('ACL', 'SETUSER', 'default', ...('password' in login ? ['on'] : ['resetpass', '>unknown']))
        const log = collecting(lines)
        const layer = await RedisLayer.open({ url: server.url, connectTimeout: 1000, ...login, log })
        layers.push(layer)
        expect(lines).toEqual([
          expect.stringMatching(said),
          'warn Redis cannot be used yet: going on within this process until it can',
        ])
        expect(lines[0]).toContain('layer.redis')
        const admin = 'password' in login ? [] : ['--no-auth-warning', '-a', 'unknown']
        await server.cli(...admin, 'ACL', 'SETUSER', 'gateway', '>secret')
        await server.cli(...admin, 'ACL', 'SETUSER', 'default', 'nopass')
        await until(() => layer.stats().connected === true)
        expect(lines.slice(2)).toEqual(['info Redis is back'])
      },
    )

    test('to hear, taken away while it runs: it says which, and it is not connected', async () => {
      await user('reset', 'on', '>secret', '+@all', 'allkeys', 'allchannels')
      const layer = await open('gateway')
      await member(layer)
      await until(() => layer.stats().connected === true)
      await user(`-${subscribe}`)
      await server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => about('NOPERM').length > 0)
      expect(layer.stats().connected).toBe(false)
      await user(`+${subscribe}`)
      await until(() => layer.stats().connected === true)
    })

    test('to hear one group: the others are heard, also after the connection broke', async () => {
      await user('reset', 'on', '>secret', '+@all', 'allkeys', 'resetchannels', '&*:process:*', '&*:group:chat')
      const [layer, other] = [await open('gateway'), await open()]
      const got = await member(layer)
      await layer.groupAdd('secret', layer.newChannel({ deliverMessage: () => true }))
      await until(() => about('hearing').length > 0)
      await server.cli('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await until(() => layer.stats().connected === false)
      await until(async () => {
        await other.groupSend('chat', text('hi'))
        return got.includes('hi')
      })
      expect(layer.stats().connected).toBe(false)
    })

    test('to publish: the layer is not connected until something goes through, and says once which is missing', async () => {
      await user('reset', 'on', '>secret', '+@all', 'allkeys', 'allchannels', '-publish', '-spublish')
      const layer = await open('gateway')
      await layer.groupSend('chat', text('1'))
      await layer.groupSend('chat', text('2'))
      await until(() => layer.stats().dropped['unreachable'] === 2)
      expect(about('publishing')).toEqual([
        expect.stringMatching(/^error publishing to other processes fails: NOPERM /),
      ])
      expect(layer.stats().connected).toBe(false)
      await user('+publish', '+spublish')
      await layer.groupSend('chat', text('3'))
      await until(() => layer.stats().connected === true)
    })

    test('to keys: it says once which is missing, and groups are heard', async () => {
      await user('reset', 'on', '>secret', '+@all', 'resetkeys', 'allchannels')
      const [layer, other] = [await open('gateway'), await open()]
      const got = await member(layer)
      await until(async () => {
        await other.groupSend('chat', text('hi'))
        return got.includes('hi')
      })
      // Some signs of life later.
      await new Promise((resolve) => setTimeout(resolve, 500))
      expect(about('who is in')).toEqual([expect.stringMatching(/^error knowing who is in which group fails: NOPERM /)])
      await expect(layer.send('work', text('no'))).rejects.toThrow(
        /^the message for channel work was not stored: NOPERM /,
      )
      await user('allkeys')
      await until(() => about('who is in').length > 1)
      expect(about('who is in').slice(1)).toEqual(['info knowing who is in which group goes on'])
      expect(await other.groupSize('chat')).toBe(1)
    })
  })
}
