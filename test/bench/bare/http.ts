/** Hello from `node:http` alone. */
import { createServer } from 'node:http'
import { serve } from './serve.ts'

const server = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain;charset=UTF-8', 'content-length': '13' })
  response.end('Hello, world!')
})
server.keepAliveTimeout = 15_000
serve(server, 'http')
