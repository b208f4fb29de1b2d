/** What the YAML may say under `listen.websocket`. */
import { z } from 'zod'
import { address, count, flag, size, tlsFiles, timeout } from '../../src/runtime/options.ts'

const origin = z.string().refine((text) => URL.canParse(text) && new URL(text).origin === text.toLowerCase(), {
  error: 'expected an origin such as https://example.org, without a path',
})

export const websocketOptions = z
  .strictObject({
    address: address().optional().meta({ description: 'host:port to listen on; left out: where http listens' }),
    tls: tlsFiles()
      .optional()
      .meta({ description: 'PEM files: serves wss instead of ws; only with an address of its own' }),
    rootPath: z
      .string()
      .regex(/^(?:\/[^/?#]+)*$/, 'expected a path such as /gateway, without a slash at its end')
      .default('')
      .meta({ description: 'the prefix under which a proxy mounts the gateway; routers do not see it' }),
    origins: z
      .union([z.enum(['same', '*']), z.array(z.union([z.literal('same'), origin]))])
      .default('same')
      .meta({
        description:
          "which web pages may connect: 'same' (those of the host they connect to), a list of origins, or '*' (all). Programs, which send no Origin, always may",
      }),
    maxMessageSize: size().prefault('1MiB').meta({ description: 'a larger message closes the connection with 1009' }),
    sendBuffer: size()
      .prefault('4MiB')
      .meta({ description: 'what may wait for a peer that does not read; more closes its connection with 1013' }),
    handshakeTimeout: timeout()
      .prefault('10s')
      .meta({ description: 'how long an application may take to accept or to refuse; then the answer is 503' }),
    heartbeat: timeout()
      .prefault('20s')
      .meta({ description: 'how often a ping is sent. 0s: never, and nobody is idle' }),
    idleTimeout: timeout()
      .prefault('60s')
      .meta({ description: 'a peer that gives no sign of life for this long, not even a pong, is cut' }),
    compression: flag().default(false).meta({
      description: 'permessage-deflate: smaller messages for some 250 KB more memory each connection and more work',
    }),
    maxConnections: count(1).default(10_000).meta({ description: 'connections at a time; one more is answered 503' }),
  })
  .refine(({ address: own, tls }) => own !== undefined || tls === undefined, {
    path: ['tls'],
    error: 'expected an address beside it: without one the certificate is that of http',
  })

export type WebsocketOptions = z.output<typeof websocketOptions>
