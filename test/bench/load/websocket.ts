/** Load over WebSocket: echo, and what one speaker says to many members. */
import { alike, closedLoop, repeated } from './closed-loop.ts'
import { fanOut } from './fan-out.ts'
import { each, urlOf, type Load, type LoadConfig } from './load.ts'
import { clientFrame, serverFrame, websocketHandshake } from './packets.ts'
import { Peer } from './peer.ts'

const text = 'A line of text as somebody would write it in a chat.'
const sent = clientFrame(text)
const heard = serverFrame(text)

export const echo: Load = async (config, tally) => {
  await each(config.connections, async () => {
    const peer = await openWebsocket(config, '/echo')
    const dialogue = { requests: repeated(sent, config.inFlight), answers: alike(heard.length, heard) }
    closedLoop(peer, config, tally, dialogue)
  })
}

export const room: Load = async (config, tally) => {
  const members: Peer[] = []
  await each(config.connections, async () => {
    members.push(await openWebsocket(config, '/member'))
  })
  const speaker = await openWebsocket(config, '/speaker')
  const answers = () => alike(heard.length, heard)
  fanOut({ speaker, members, requests: repeated(sent, config.inFlight), answers }, config, tally)
}

export async function openWebsocket(config: LoadConfig, path: string): Promise<Peer> {
  const peer = await Peer.open(urlOf(config, 'ws'))
  peer.write(websocketHandshake(path))
  // A heartbeat may come right behind it.
  const answer = await peer.until((response) => response.includes('\r\n\r\n'))
  if (!answer.startsWith('HTTP/1.1 101 ')) throw new Error(`the server answers ${answer}`)
  return peer
}
