/** Hello from `node:http` alone; with `response` out of a web-standard Response. */
import { createServer } from 'node:http'
import { serve } from './serve.ts'

const plain = createServer((_request, response) => {
  response.writeHead(200, { 'content-type': 'text/plain;charset=UTF-8', 'content-length': '13' })
  response.end('Hello, world!')
})

const standard = createServer((_request, response) => {
  const answer = new Response('Hello, world!')
  void answer.arrayBuffer().then((body) => {
    const headers = [...answer.headers, ['content-length', String(body.byteLength)]]
    response.writeHead(answer.status, headers.flat())
    response.end(Buffer.from(body))
  })
})

const server = process.argv[2] === 'response' ? standard : plain
server.keepAliveTimeout = 15_000
serve(server, 'http')
