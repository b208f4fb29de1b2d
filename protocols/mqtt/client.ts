/** `signalbox send mqtt`: publishes one message to a running gateway and waits for its acknowledgement. */
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { generate, parser, type IConnackPacket, type Packet } from 'mqtt-packet'
import type { Client, ClientAnswer, ClientTarget } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import type { MqttOptions } from './options.ts'
import type { Qos } from './scope.ts'
import { isReserved, topicProblem } from './topic.ts'

const usage = 'npx signalbox send mqtt sensors/kitchen/temperature 21.5'
/** One listens on all addresses, but calls one. */
const reachable: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' }

/** CONNACK's return codes, section 3.2.2.3. */
const refusals: Readonly<Record<number, string>> = {
  1: 'the protocol version is not spoken',
  2: 'the client id is refused',
  3: 'the server is unavailable',
  4: 'bad user name or password',
  5: 'not authorized',
}

export const client: Client = {
  async send([topic, message], options, target) {
    if (topic === undefined || message === undefined) {
      throw new SignalboxError('bad_address', `expected a topic and a message: ${usage}`)
    }
    const problem = topicProblem(topic, target.options as MqttOptions) // parsed by this protocol's own schema
    if (problem) throw new SignalboxError('bad_address', problem)
    const qos = parseQos(options['qos'] ?? '1')
    const wire = await Wire.open(target)
    try {
      return await publish(wire, { topic, message, qos, options })
    } finally {
      wire.close()
    }
  },
}

interface Message {
  readonly topic: string
  readonly message: string
  readonly qos: Qos
  readonly options: Readonly<Record<string, string>>
}

async function publish(wire: Wire, { topic, message, qos, options }: Message): Promise<ClientAnswer> {
  const { username, password } = options
  wire.send({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId: '',
    keepalive: 60,
    ...(username !== undefined && { username, password: Buffer.from(password ?? '') }),
  })
  const { returnCode = 0 } = (await wire.expect('connack')) as IConnackPacket
  if (returnCode !== 0) return { positive: false, text: `CONNACK ${returnCode}: ${refusals[returnCode] ?? 'refused'}` }
  const retain = options['retain'] !== undefined
  wire.send({ cmd: 'publish', topic, payload: message, qos, retain, dup: false, messageId: 1 })
  if (qos === 1) await wire.expect('puback')
  if (qos === 2) {
    await wire.expect('pubrec')
    wire.send({ cmd: 'pubrel', messageId: 1 })
    await wire.expect('pubcomp')
  }
  wire.send({ cmd: 'disconnect' })
  await wire.closed()
  const answer = { 0: 'sent: QoS 0 has no acknowledgement', 1: 'PUBACK', 2: 'PUBCOMP' }[qos]
  return {
    positive: true,
    text: isReserved(topic) ? `${answer}, but $SYS is the broker's own: the message goes nowhere` : answer,
  }
}

function parseQos(text: string): Qos {
  const qos = Number(text)
  if (qos === 0 || qos === 1 || qos === 2) return qos
  throw new SignalboxError('bad_address', `--qos: found ${JSON.stringify(text)}, expected 0, 1 or 2`)
}

/** One connection, packet by packet. */
class Wire {
  readonly #socket: Socket
  readonly #packets: AsyncIterableIterator<Packet>

  static async open({ options, signal }: ClientTarget): Promise<Wire> {
    const { address, tls } = options as MqttOptions
    const place = { host: reachable[address.host] ?? address.host, port: address.port, signal }
    // The certificate names the public host, and this goes to the operator's own address: there is nobody else to ask for.
    const socket = tls ? connectTls({ ...place, rejectUnauthorized: false }) : connectTcp(place)
    await once(socket, tls ? 'secureConnect' : 'connect', { signal })
    return new Wire(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#packets = packetsOf(socket)
  }

  send(packet: Packet): void {
    this.#socket.write(generate(packet))
  }

  /** The next packet, which has to be of this kind. */
  async expect(cmd: Packet['cmd']): Promise<Packet> {
    const { value, done } = (await this.#packets.next()) as IteratorResult<Packet, undefined>
    if (done || !value)
      throw new SignalboxError('disconnected', `the gateway closed the connection instead of ${cmd.toUpperCase()}`)
    if (value.cmd === cmd) return value
    throw new SignalboxError(
      'unexpected_event',
      `the gateway sent ${value.cmd.toUpperCase()} instead of ${cmd.toUpperCase()}`,
    )
  }

  /** Resolves when the gateway has closed the connection. */
  async closed(): Promise<void> {
    await this.#packets.next()
  }

  close(): void {
    this.#socket.destroy()
  }
}

async function* packetsOf(socket: Socket): AsyncGenerator<Packet, undefined> {
  const found: Packet[] = []
  const reader = parser({ protocolVersion: 4 })
  reader.on('packet', (packet) => found.push(packet))
  reader.on('error', (error) => socket.destroy(error))
  for await (const chunk of socket) {
    reader.parse(chunk as Buffer)
    yield* found.splice(0)
  }
  return undefined
}
