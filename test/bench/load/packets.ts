/** What the load generators say, encoded beforehand. */
import { randomBytes } from 'node:crypto'

/** A client's frame (RFC 6455 5.2); its mask is zero, so that its payload stands as it is. */
export function clientFrame(text: string): Buffer {
  const payload = Buffer.from(text)
  if (payload.length > 125) throw new RangeError('expected at most 125 bytes: the shortest form of a frame')
  return Buffer.concat([Buffer.from([0x81, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}

/** The server's frame for the same text. */
export function serverFrame(text: string): Buffer {
  const payload = Buffer.from(text)
  return Buffer.concat([Buffer.from([0x81, payload.length]), payload])
}

/** With a status of 1000 and no mask to speak of. */
export const closeFrame = Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8])

export function websocketHandshake(path: string): Buffer {
  return Buffer.from(
    [
      `GET ${path} HTTP/1.1`,
      'Host: bench.example.org',
      'Upgrade: websocket',
      'Connection: Upgrade',
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
      'Sec-WebSocket-Version: 13',
      '\r\n',
    ].join('\r\n'),
  )
}

function mqttText(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes])
}

function mqttPacket(header: number, ...parts: readonly Buffer[]): Buffer {
  const rest = Buffer.concat(parts)
  if (rest.length > 127) throw new RangeError('expected at most 127 bytes: a length of one byte')
  return Buffer.concat([Buffer.from([header, rest.length]), rest])
}

/** MQTT 3.1.1, clean session, no keep alive. */
export function mqttConnect(clientId: string): Buffer {
  return mqttPacket(0x10, mqttText('MQTT'), Buffer.from([4, 2, 0, 0]), mqttText(clientId))
}

export function mqttSubscribe(filter: string): Buffer {
  return mqttPacket(0x82, Buffer.from([0, 1]), mqttText(filter), Buffer.from([0]))
}

/** With an `id` QoS 1, without one QoS 0. */
export function mqttPublish(topic: string, payload: string, id?: number): Buffer {
  if (id === undefined) return mqttPacket(0x30, mqttText(topic), Buffer.from(payload))
  return mqttPacket(0x32, mqttText(topic), Buffer.from([id >> 8, id & 0xff]), Buffer.from(payload))
}

export const mqttDisconnect = Buffer.from([0xe0, 0])
/** CONNACK: accepted, no session. */
export const mqttAccepted = Buffer.from([0x20, 2, 0, 0]).toString('latin1')
