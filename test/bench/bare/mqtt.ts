/** Aedes alone, with a listener for what is published. */
import { createServer } from 'node:net'
import { Aedes } from 'aedes'
import { serve } from './serve.ts'

const broker = await Aedes.createBroker()
let bytes = 0
broker.on('publish', ({ payload }, client) => {
  if (client) bytes += payload.length
})
process.once('exit', () => {
  if (bytes < 0) throw new Error('a sum of lengths is not negative')
})
serve(createServer({ noDelay: true }, broker.handle), 'mqtt')
