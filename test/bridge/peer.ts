/** A WebSocket peer of consumers on worker threads, and what their tests ask about both. */
import { expect } from '@jest/globals'
import type { WebsocketProtocol } from '../../protocols/websocket/scope.ts'
import type { Application } from '../../src/asgi/protocol.ts'
import type { BridgePool } from '../../src/bridge/pool.ts'
import { syncApplication } from '../../src/bridge/sync-application.ts'
import { syncToAsync } from '../../src/bridge/sync-to-async.ts'
import { MemoryLayer } from '../../src/layers/memory.ts'
import { silentLog } from '../../src/runtime/log.ts'
import { ApplicationCommunicator } from '../../src/testing/application-communicator.ts'
import * as consumers from './fixtures/consumers.ts'
import { websocketScope } from './scopes.ts'
import { fixture, onWorker } from './support.ts'

export const obedient = syncApplication(consumers.Obedient, fixture('consumers.ts'))
export const plainEcho = syncApplication(consumers.plainEcho, fixture('consumers.ts'), 'plainEcho')

/** On a busy machine loading a module takes longer than the times that are tested. */
export const warm = syncToAsync<() => void>(fixture('consumers.ts'), 'warm', { timeout: 60_000 })

/** A WebSocket peer whose waits are as long as they have to be on a busy machine. */
export class Peer {
  readonly layer: MemoryLayer
  readonly communicator: ApplicationCommunicator<WebsocketProtocol>

  constructor(
    application: Application<WebsocketProtocol> = obedient,
    { layer = new MemoryLayer(), log = silentLog, closeTimeout = 20_000 } = {},
  ) {
    this.layer = layer
    const options = { layer, log, closeTimeout, timeout: 20_000 }
    this.communicator = new ApplicationCommunicator(application, websocketScope(), options)
  }
  async connect() {
    await this.communicator.sendInput({ type: 'websocket.connect' })
    expect(await this.communicator.receiveOutput()).toMatchObject({ type: 'websocket.accept' })
  }
  say(text: string) {
    return this.communicator.sendInput({ type: 'websocket.receive', text })
  }
  async hear() {
    const event = await this.communicator.receiveOutput()
    return 'text' in event ? event.text : event.type
  }
  async ask(text: string) {
    void this.say(text)
    return this.hear()
  }
  leave() {
    this.communicator.connection.disconnect({ type: 'websocket.disconnect', code: 1001, reason: '' })
    return this.communicator.wait()
  }
}

export async function connected(...options: ConstructorParameters<typeof Peer>) {
  const peer = new Peer(...options)
  await peer.connect()
  return peer
}

export const outcomeOf = async (peer: Peer) => {
  const outcome = await peer.communicator.wait()
  return outcome.kind === 'raised' ? (outcome.error as Error & { code?: string }) : outcome.kind
}

/** Until nothing of any scope is left, on either side. */
export async function forgotten(pool: BridgePool) {
  expect(pool.stats().scopes).toBe(0)
  const livingHere = onWorker('livingHere', { pool })
  const left = new Map<number, number>()
  do {
    for (const [thread, count] of await Promise.all(Array.from({ length: 10 }, livingHere))) left.set(thread, count)
  } while (left.size < pool.stats().threads || [...left.values()].some((count) => count > 0))
}
