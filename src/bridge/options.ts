/** What the operator may set of the worker threads. */
import { z } from 'zod'
import { count, size, timeout } from '../runtime/options.ts'

export const bridgeOptions = z.strictObject({
  threads: count(1, 512)
    .optional()
    .meta({ description: 'How many worker threads run blocking code. Default: one a core, at least 2.' }),
  memory: size()
    .refine((bytes) => bytes >= 16 * 2 ** 20, 'expected at least 16MiB')
    .optional()
    .meta({ description: "How much a thread's objects may take, such as 256MiB. Default: what Node allows." }),
  queue: count(0)
    .default(1000)
    .meta({ description: 'How many calls and new scopes may wait for a thread; more are refused.' }),
  timeout: timeout()
    .prefault('30s')
    .meta({ description: 'How long blocking code may take for one event or call, such as 30s.' }),
  grace: timeout()
    .prefault('1s')
    .meta({ description: 'How long it may then take to stop, before its thread is ended.' }),
})

export type BridgeOptions = z.output<typeof bridgeOptions>
