/** Twilio's webhook on `node:http`, with the validation of Twilio's own package. */
import { createServer, type IncomingMessage } from 'node:http'
import { validateRequest } from 'twilio/lib/webhooks/webhooks.js'
import { serve } from './serve.ts'

const answer = '<?xml version="1.0" encoding="UTF-8"?><Response><Message>Thank you.</Message></Response>'

async function isSigned(request: IncomingMessage): Promise<boolean> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const parameters = Object.fromEntries(new URLSearchParams(Buffer.concat(parts).toString()))
  const signature = String(request.headers['x-twilio-signature'])
  return validateRequest('benchmark', signature, `http://bench.example.org${request.url ?? ''}`, parameters)
}

const server = createServer((request, response) => {
  void isSigned(request).then((signed) => {
    response.writeHead(signed ? 200 : 403, { 'content-type': 'text/xml', 'content-length': String(answer.length) })
    response.end(answer)
  })
})
serve(server, 'http')
