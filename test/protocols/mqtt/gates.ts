/** The gate alone, by bytes: with a client before it and a reader in Aedes' place behind it. */
import { duplexPair } from 'node:stream'
import { afterEach } from '@jest/globals'
import fc from 'fast-check'
import { Framer } from '../../../protocols/mqtt/framer.ts'
import { Gate, type GateLimits } from '../../../protocols/mqtt/gate.ts'
import { packetType } from '../../../protocols/mqtt/packet.ts'
import { bytes } from './support.ts'

export const limits: GateLimits = {
  maxPacketSize: 4096,
  maxTopicLevels: 10,
  maxTopicLength: 100,
  maxSubscriptions: 5,
  window: 4,
  disconnectTimeout: 20,
  drainTimeout: 10_000,
}
export const connect = bytes.connect()

const gates: Gate[] = []
afterEach(() => {
  for (const gate of gates.splice(0)) gate.destroy()
})

/** A gate with a reader in Aedes' place, which takes CONNECT for good and counts, and with one for publishes beside it. */
export function openGate(own: Partial<GateLimits> = {}) {
  const [peer, source] = duplexPair()
  const gate = new Gate(source, { ...limits, ...own })
  gates.push(gate)
  const errors: string[] = []
  const taken: Buffer[] = []
  const framer = new Framer(1e6)
  gate.on('error', (error) => errors.push(error.message))
  gate.on('readable', () => {
    const chunk = gate.read()
    if (!chunk) return
    framer.put(chunk)
    for (let next = framer.next(); next; next = framer.next()) taken.push(next)
  })
  gate.packets = {
    published: ({ topic, payload, qos, dup, retain, messageId = 0 }) =>
      taken.push(
        bytes.publish(topic, payload.toString('latin1'), {
          qos,
          flags: (dup ? 8 : 0) | (retain ? 1 : 0),
          id: messageId,
        }),
      ),
    subscribes: ({ subscriptions }) => taken.push(bytes.subscribe(...subscriptions.map(({ topic }) => topic))),
  }
  let said = ''
  peer.setEncoding('latin1')
  peer.on('data', (text: string) => (said += text))
  peer.on('error', () => undefined)
  peer.on('end', () => peer.end())
  /** The publishes that passed, as text. */
  const texts = () => taken.filter((one) => packetType(one) === 3).map((one) => one.toString('latin1').slice(5))
  return { peer, gate, errors, taken, texts, said: () => said }
}

/** A gate behind CONNECT and its acceptance; `silence` as for `Gate.accept`. */
export async function connected(own: Partial<GateLimits> = {}, silence = 0) {
  const opened = openGate(own)
  opened.peer.write(connect)
  await turn()
  opened.gate.accept(silence)
  await turn()
  return opened
}

/** Unlike `once`, which fails on an error that comes first. */
export const closed = (gate: Gate) => new Promise<void>((resolve) => void gate.once('close', resolve))
export const turn = () => new Promise((resolve) => void setImmediate(resolve))

/** Cuts bytes into chunks of these sizes. */
export function chunked(all: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let at = 0, turn = 0; at < all.length; turn++) {
    const end = at + (sizes[turn % sizes.length] as number)
    chunks.push(all.subarray(at, end))
    at = end
  }
  return chunks
}
export const chunkSizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 10 })
