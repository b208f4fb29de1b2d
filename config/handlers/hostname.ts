/** `GET /gethostbyname/localhost`: what the resolver says, without blocking anybody else. */
import { lookup } from 'node:dns/promises'
import { httpHandler } from 'signalbox'
import { isReading, methodNotAllowed, text } from './answers.ts'

export const hostname = httpHandler(async ({ method, params }) => {
  if (!isReading(method)) return methodNotAllowed()
  try {
    const { address } = await lookup(params['name'] ?? '', { family: 4 })
    return text(200, address)
  } catch (error) {
    const isUnknown = Error.isError(error) && 'code' in error && error.code === 'ENOTFOUND'
    return text(404, isUnknown ? 'no such host' : 'lookup error')
  }
})
