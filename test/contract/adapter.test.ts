/** The contract of every adapter: one suite, driven by each protocol's real client over real sockets. */
import { describe, expect, test } from '@jest/globals'
import type { Log } from '../../src/asgi/context.ts'
import type { Application, BaseScope } from '../../src/asgi/protocol.ts'
import { silentLog } from '../../src/runtime/log.ts'
import type { Gateway } from '../../src/server/gateway.ts'
import { drivers, type Driver } from './drivers.ts'
import { startGateway } from './gateway.ts'

/** Answers what it is told; `raise` makes it raise, `hang` makes it hang. Tells what it saw. */
function obedient(driver: Driver, seen: { scopes: BaseScope[]; ended: string[] }): Application {
  return async (scope, receive, send, context) => {
    seen.scopes.push(scope)
    await context.layer.groupAdd('everyone', context.channel)
    try {
      let welcomed = false
      for (;;) {
        const event = await receive()
        if (event.type.endsWith('.disconnect')) return
        if (!welcomed) for (const welcome of driver.welcome) await send(welcome)
        welcomed = true
        const text = driver.said(event)
        if (text === undefined) continue
        if (text === 'raise') throw new Error('as told')
        if (text === 'hang') await new Promise(() => undefined)
        for (const answer of driver.answer(text)) await send(answer)
        // It has joined a group, and would hear of that until its time is up.
        if (driver.single) return
      }
    } finally {
      seen.ended.push(scope.id)
    }
  }
}

async function start(driver: Driver) {
  const seen = { scopes: [] as BaseScope[], ended: [] as string[] }
  const lines: { readonly fields: object; readonly message: string }[] = []
  const log: Log = Object.assign(Object.create(silentLog), {
    child: () => log,
    warn: (fields: object, message: string) => lines.push({ fields, message }),
    error: (fields: object, message: string) => lines.push({ fields, message }),
  })
  const { gateway, url } = await startGateway(driver, obedient(driver, seen), {
    closeTimeout: 500,
    drainTimeout: 2000,
    log,
  })
  const say = (text: string, known = true) => driver.exchange(url, { text, known })
  return { gateway, url, seen, say, lines }
}

/** Peers and applications end a moment after their clients saw the answer. */
async function settled(gateway: Gateway): Promise<void> {
  const empty = { scopes: 0, connections: 0, channels: 0, groups: 0 }
  while (JSON.stringify(open(gateway)) !== JSON.stringify(empty)) await new Promise((resolve) => setTimeout(resolve, 5))
}
const open = (gateway: Gateway) => {
  const { scopes, connections, channels, groups } = gateway.stats()
  return { scopes, connections, channels, groups }
}

describe.each(drivers.map((driver) => [driver.name, driver] as const))('%s', (_name, driver) => {
  test('what the application answers reaches the peer', async () => {
    const { say } = await start(driver)
    expect(await say('hello')).toBe(driver.wire.answered)
  })

  test('a scope is plain data that says who, where and which rule', async () => {
    const { say, seen } = await start(driver)
    await say('hello')
    const [scope] = seen.scopes as [BaseScope]
    expect(structuredClone(scope)).toEqual(scope)
    expect(scope).toMatchObject({
      type: driver.name,
      id: expect.stringMatching(/./),
      client: ['127.0.0.1', expect.any(Number)],
      server: ['127.0.0.1', expect.any(Number)],
      route: expect.stringMatching(/\[0\]$/),
      state: { data: expect.any(String) },
    })
  })

  test("a handler that raises gets the peer its protocol's answer, and the next peer is served", async () => {
    const { say, gateway, lines } = await start(driver)
    expect(await say('raise')).toBe(driver.wire.raised)
    expect(await say('hello')).toBe(driver.wire.answered)
    await settled(gateway)
    // By whoever keeps the event, or else by its scope.
    const logged = lines.filter(({ message }) => /^(the application raised|an event )/.test(message))
    // The event may be tried again meanwhile.
    expect(logged.length).toBeGreaterThan(0)
    for (const { fields } of logged) expect(fields).toMatchObject({ route: expect.stringMatching(/\[0\]$/) })
  })

  test("an address without a rule gets its protocol's answer and is counted", async () => {
    const { say, gateway, seen } = await start(driver)
    expect(await say('hello', false)).toBe(driver.wire.unrouted)
    expect(seen.scopes).toEqual([])
    expect(gateway.stats().unrouted).toBe(1)
  })

  test('closing the gateway lets no peer wait for ever, and tells those that are connected', async () => {
    const { gateway, url } = await start(driver)
    const held = await driver.hold(url)
    await gateway.close()
    await expect(held.told).resolves.toEqual(driver.farewell)
    expect(gateway.stats()).toMatchObject({ scopes: 0, channels: 0, groups: 0 })
  })

  test('a peer that vanishes leaves nothing behind', async () => {
    const { gateway, url } = await start(driver)
    const held = await driver.hold(url)
    held.leave()
    await held.told
    await settled(gateway)
  })

  test('after 10,000 connects and disconnects the tables are empty', async () => {
    const { gateway, seen, say } = await start(driver)
    let left = 10_000
    const wrong: string[] = []
    const peer = async () => {
      while (left-- > 0) {
        const answer = await say('hello')
        if (answer !== driver.wire.answered) wrong.push(answer)
      }
    }
    await Promise.all(Array.from({ length: 100 }, peer))
    await settled(gateway)
    expect(wrong).toEqual([])
    expect(seen.ended).toHaveLength(10_000)
  }, 300_000)
})
