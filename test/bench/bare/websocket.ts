/** Echo and fan-out with `ws` alone: what a speaker says goes to every member in a loop. */
import { createServer } from 'node:http'
import { WebSocketServer, type RawData, type WebSocket } from 'ws'
import { serve } from './serve.ts'

const server = createServer()
const sockets = new WebSocketServer({ server, perMessageDeflate: false, clientTracking: false })
const members = new Set<WebSocket>()

sockets.on('connection', (socket, { url }) => {
  socket.on('error', () => undefined)
  if (url === '/echo') socket.on('message', (data, binary) => socket.send(data, { binary }))
  if (url === '/speaker') socket.on('message', tellAll)
  if (url !== '/member') return
  members.add(socket)
  socket.on('close', () => members.delete(socket))
})

function tellAll(data: RawData, binary: boolean): void {
  for (const member of members) member.send(data, { binary })
}

serve(server, 'ws')
