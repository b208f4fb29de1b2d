/** The classes of smtp-server, as CommonJS: its ES modules import `node:http` (src/runtime/node-http.ts says what that costs). */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)

export const { SMTPServer } = require('smtp-server') as typeof import('smtp-server')
export const { SMTPConnection } =
  require('smtp-server/lib/smtp-connection.js') as typeof import('smtp-server/lib/smtp-connection.js')
export const { SMTPStream } =
  require('smtp-server/lib/smtp-stream.js') as typeof import('smtp-server/lib/smtp-stream.js')
