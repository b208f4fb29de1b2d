/** `admin`: the listener for health, metrics, and programs that send to groups and channels; off unless it is named. */
import { z } from 'zod'
import type { ListenAddress } from '../asgi/adapter.ts'
import { address, addressText, isLoopback, size } from '../runtime/options.ts'

export interface AdminSettings {
  readonly address: ListenAddress
  /** What a caller must bring as `Authorization: Bearer TOKEN`; undefined: nothing, on loopback only. */
  readonly token?: string
  /** Bytes; a larger request is refused. */
  readonly maxBodySize: number
}

export const adminSchema = z
  .strictObject({
    address: address().prefault('127.0.0.1:8100').meta({ description: 'host:port to listen on.' }),
    token: z
      .string()
      .regex(/^[\x21-\x7e]*$/, 'expected a token of visible ASCII characters, without spaces')
      .default('')
      .meta({ description: 'What callers must bring. Empty: nothing, which is taken on loopback only.' }),
    maxBodySize: size().prefault('1MiB').meta({ description: 'A larger request is refused with 413.' }),
  })
  .superRefine(({ address: at, token }, context) => {
    if (token !== '' || isLoopback(at)) return
    const message = `expected a token: ${addressText(at)} is not loopback, and without one anybody could send. Write one, or listen on 127.0.0.1`
    context.addIssue({ code: 'custom', path: ['token'], message })
  })
  .transform(({ token, ...rest }): AdminSettings => ({ ...rest, ...(token !== '' && { token }) }))
