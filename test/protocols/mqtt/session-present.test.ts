/** Whether a session is there, as CONNACK says it: a client that hears no throws its own away. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { expect, test } from '@jest/globals'
import { inEachStore } from './stores.ts'
import { bytes, recorder, serveMqtt, type MqttServer } from './support.ts'

const clean = 2
const lasting = 0

/** Connects, sends this, and waits for that; answers whether CONNACK said that the session was there. */
async function visit(
  server: MqttServer,
  flags: number,
  sent: readonly Buffer[] = [],
  answer = /^\x20/,
): Promise<boolean> {
  const client = await server.raw()
  client.send(bytes.connect({ clientId: 'device', flags }), ...sent)
  await client.until(/^\x20\x02[\x00\x01]\x00/)
  await client.until(answer)
  client.send(bytes.disconnect)
  await client.closed
  await server.idle()
  return client.text.startsWith('\x20\x02\x01\x00')
}

inEachStore((start) => {
  test('a session is there once it was begun, also with nothing in it, until a clean one ends it', async () => {
    await using server = await start()
    const said: boolean[] = []
    for (const flags of [lasting, lasting, clean, clean, lasting, lasting]) said.push(await visit(server, flags))
    expect(said).toEqual([false, true, false, false, false, true])
  })

  test('a session whose last subscription was taken away is there', async () => {
    await using server = await start()
    await visit(server, lasting, [bytes.subscribe('a')], /\x90/)
    expect(await visit(server, lasting, [bytes.unsubscribe('a')], /\xb0/)).toBe(true)
    expect(await visit(server, lasting)).toBe(true)
  })

  test('a session that is taken over is there', async () => {
    await using server = await start()
    const first = await server.raw()
    first.send(bytes.connect({ clientId: 'device', flags: lasting }))
    await first.until(/\x20\x02\x00\x00$/)
    expect(await visit(server, lasting)).toBe(true)
    await first.closed
  })

  test('a message of QoS 2 that was not released is of a session that is there, and of no other', async () => {
    const app = recorder()
    await using server = await start({}, app)
    const publish = (payload: string) => bytes.publish('t', payload, { qos: 2, id: 7 })
    expect(await visit(server, lasting, [publish('first')], /\x50\x02\x00\x07/)).toBe(false)
    expect(await visit(server, lasting, [publish('first')], /\x50\x02\x00\x07/)).toBe(true)
    expect(await visit(server, clean)).toBe(false)
    expect(await visit(server, lasting, [publish('second')], /\x50\x02\x00\x07/)).toBe(false)
    expect(app.texts()).toEqual(['first', 'second'])
  })

  test('what is subscribed to in an empty session is kept as in any other', async () => {
    await using server = await start()
    await visit(server, lasting)
    await visit(server, lasting, [bytes.subscribe('a')], /\x90\x03\x00\x01\x00/)
    const device = await server.raw()
    device.send(bytes.connect({ clientId: 'device', flags: lasting }), bytes.publish('a', 'x'))
    expect(await device.until(/x$/)).toMatch(/^\x20\x02\x01\x00/)
  })

  test('one that nobody takes up again is there no more', async () => {
    await using server = await start({ sessionExpiry: '50ms' })
    await visit(server, lasting)
    let isThere = true
    while (isThere) {
      await pause(150)
      isThere = await visit(server, lasting)
    }
    expect(isThere).toBe(false)
  })
})

test('an empty session is there after a restart', async () => {
  const data = mkdtempSync(join(tmpdir(), 'signalbox-mqtt-'))
  for (const expected of [false, true]) {
    await using server = await serveMqtt(recorder().application, { persistence: 'disk' }, { data })
    expect(await visit(server, lasting)).toBe(expected)
  }
  rmSync(data, { recursive: true })
})
