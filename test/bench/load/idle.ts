/** Connections that do nothing: opened in two lots, each when the benchmark asks for it. */
import { firstLot } from './first-lot.ts'
import { each, type LoadConfig } from './load.ts'
import { openMqtt } from './mqtt.ts'
import type { Peer } from './peer.ts'
import { openWebsocket } from './websocket.ts'

export const openers: Readonly<Record<string, (config: LoadConfig, index: number) => Promise<Peer>>> = {
  'idle-websocket': (config) => openWebsocket(config, '/echo'),
  'idle-mqtt': openMqtt,
}

export async function idle(config: LoadConfig): Promise<void> {
  const open = openers[config.load]
  if (!open) throw new Error(`there is no load ${config.load}`)
  const peers: Peer[] = []
  const openTo = async (total: number) => {
    const from = peers.length
    await each(total - from, async (index) => {
      peers.push(await open(config, from + index))
    })
    process.stdout.write('opened\n')
  }
  await openTo(firstLot(config.connections))
  process.stdin.once('data', () => void openTo(config.connections))
}
