/** What the YAML may say under `listen.http`. */
import { z } from 'zod'
import { address, count, duration, size, tlsFiles } from '../../src/runtime/options.ts'

export const httpOptions = z
  .strictObject({
    address: address().prefault('127.0.0.1:8000').meta({
      description:
        'host:port to listen on; websocket and sms are served there too unless they have an address of their own',
    }),
    tls: tlsFiles().optional().meta({ description: 'PEM files: serves https instead of http' }),
    rootPath: z
      .string()
      .regex(/^(?:\/[^/?#]+)*$/, 'expected a path such as /gateway, without a slash at its end')
      .default('')
      .meta({ description: 'the prefix under which a proxy mounts the gateway; routers do not see it' }),
    maxBodySize: size().prefault('10MiB').meta({ description: 'a larger request body is answered 413' }),
    maxHeaderSize: size().prefault('16KiB').meta({ description: 'larger request headers are answered 431' }),
    maxRequests: count(1)
      .default(10_000)
      .meta({ description: 'requests under way at a time; one more is answered 503' }),
    maxConnections: count(1).default(10_000).meta({ description: 'connections at a time; one more is closed' }),
    handlerTimeout: duration().prefault('60s').meta({
      description: 'how long an application may take to begin its response; then the answer is 503. 0s: for ever',
    }),
    sendTimeout: duration().prefault('60s').meta({
      description: 'how long a peer may take nothing of a response that waits for it; then it is cut. 0s: for ever',
    }),
    headersTimeout: duration()
      .prefault('15s')
      .meta({ description: 'how long a peer may take to send the headers of a request; then the answer is 408' }),
    requestTimeout: duration()
      .prefault('120s')
      .meta({ description: 'how long a peer may take to send a whole request; then the answer is 408' }),
    keepAliveTimeout: duration()
      .prefault('15s')
      .meta({ description: 'how long an idle connection stays open for another request' }),
  })
  .refine(({ headersTimeout, requestTimeout }) => headersTimeout <= requestTimeout, {
    path: ['headersTimeout'],
    error: 'expected no more than requestTimeout: the headers are a part of the request',
  })

export type HttpOptions = z.output<typeof httpOptions>
