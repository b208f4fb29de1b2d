/** Load that connects, shakes hands, closes, and begins again. */
import { helloRequest, isComplete } from './http.ts'
import { urlOf, type Load, type LoadConfig, type Tally } from './load.ts'
import { openMqtt } from './mqtt.ts'
import { closeFrame, mqttDisconnect } from './packets.ts'
import { Peer } from './peer.ts'
import { openSmtp } from './email.ts'
import { openWebsocket } from './websocket.ts'

/** One connection from its beginning to its end. */
type Visit = (config: LoadConfig, index: number) => Promise<void>

const visiting =
  (visit: Visit): Load =>
  async (config, tally) => {
    for (let index = 0; index < config.connections; index++) void comeAgain(visit, config, { index, tally })
  }

async function comeAgain(
  visit: Visit,
  config: LoadConfig,
  { index, tally }: { readonly index: number; readonly tally: Tally },
): Promise<never> {
  for (;;) {
    await visit(config, index)
    tally.done++
  }
}

const lastRequest = Buffer.from(helloRequest.toString('latin1').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))

export const connectHttp = visiting(async (config) => {
  const peer = await Peer.open(urlOf(config, 'http'))
  peer.write(lastRequest)
  await peer.until(isComplete)
  await goodbye(peer)
})

export const connectWebsocket = visiting(async (config) => {
  const peer = await openWebsocket(config, '/echo')
  peer.write(closeFrame)
  await peer.until(({ length }) => length >= 4)
  await goodbye(peer)
})

export const connectMqtt = visiting(async (config, index) => {
  const peer = await openMqtt(config, index)
  peer.write(mqttDisconnect)
  await goodbye(peer)
})

export const connectEmail = visiting(async (config) => {
  const peer = await openSmtp(config)
  peer.write(Buffer.from('QUIT\r\n'))
  await peer.until((text) => /^221 .*\r\n$/m.test(text))
  await goodbye(peer)
})

/** The server closes, and so do we. */
function goodbye(peer: Peer): Promise<void> {
  peer.end()
  return peer.closed
}
