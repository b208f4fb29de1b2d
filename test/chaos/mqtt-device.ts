/** An MQTT client in a lasting session that does as the specification says when its connection breaks: it sends again, with DUP. */
import { connect, type Socket } from 'node:net'
import { generate, parser, type IPublishPacket, type Packet } from 'mqtt-packet'

interface Message {
  readonly packet: IPublishPacket
  readonly done: () => void
  /** PUBREC has come. */
  received: boolean
}

/** How long it leaves a gateway alone that is not there, in milliseconds. */
const pause = 30

export class MqttDevice {
  readonly #port: number
  readonly #clientId: string
  /** Without an acknowledgement, in the order of sending. */
  readonly #messages = new Map<number, Message>()
  #socket: Socket | undefined
  #connected = false
  #nextId = 1
  #closed = false

  constructor(port: number, clientId: string) {
    this.#port = port
    this.#clientId = clientId
    this.#connect()
  }

  /** Resolves with PUBACK, or with PUBCOMP. */
  publish(topic: string, payload: string, qos: 1 | 2): Promise<void> {
    const messageId = this.#freeId()
    const packet: IPublishPacket = { cmd: 'publish', topic, payload, qos, messageId, dup: false, retain: false }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#messages.set(messageId, { packet, done: resolve, received: false })
    if (this.#connected) this.#send(packet)
    return promise
  }

  close(): void {
    this.#closed = true
    this.#socket?.destroy()
  }

  #freeId(): number {
    do this.#nextId = (this.#nextId % 65_535) + 1
    while (this.#messages.has(this.#nextId))
    return this.#nextId
  }

  #connect(): void {
    if (this.#closed) return
    const socket = connect(this.#port, '127.0.0.1')
    const parsing = parser()
    this.#socket = socket
    parsing.on('packet', (packet) => this.#take(packet))
    socket.on('data', (chunk) => parsing.parse(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#connected = false
      setTimeout(() => this.#connect(), pause)
    })
    const connecting: Packet = {
      cmd: 'connect',
      clientId: this.#clientId,
      clean: false,
      keepalive: 30,
      protocolId: 'MQTT',
    }
    socket.on('connect', () => this.#send({ ...connecting, protocolVersion: 4 }))
  }

  #take(packet: Packet): void {
    const id = packet.messageId ?? 0
    if (packet.cmd === 'connack') this.#resume(packet.returnCode ?? 1)
    else if (packet.cmd === 'puback' || packet.cmd === 'pubcomp') this.#finish(id)
    else if (packet.cmd === 'pubrec') {
      const message = this.#messages.get(id)
      if (message) message.received = true
      this.#send({ cmd: 'pubrel', messageId: id })
    }
  }

  /** [MQTT-4.4.0-1] */
  #resume(returnCode: number): void {
    if (returnCode !== 0) return void this.#socket?.destroy()
    this.#connected = true
    for (const [messageId, { packet, received }] of this.#messages) {
      this.#send(received ? { cmd: 'pubrel', messageId } : { ...packet, dup: true })
    }
  }

  #finish(id: number): void {
    const message = this.#messages.get(id)
    this.#messages.delete(id)
    message?.done()
  }

  #send(packet: Packet): void {
    this.#socket?.write(generate(packet))
  }
}
