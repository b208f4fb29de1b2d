/** SMS by Twilio's webhooks, on the HTTP server of an address: the two paths, and how they start and stop. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import path from 'node:path'
import type { Adapter, Listener, Services } from '../../src/asgi/adapter.ts'
import { answerAndClose } from '../../src/runtime/http-answer.ts'
import { sentence, write } from './answer.ts'
import { ConsentStore } from './consent.ts'
import { Desk } from './desk.ts'
import { FileCarrier } from './file-carrier.ts'
import type { SmsOptions } from './options.ts'
import { type Carrier, Outbox } from './outbox.ts'
import type { SmsProtocol } from './scope.ts'
import { TwilioCarrier } from './twilio-carrier.ts'
import { receive } from './webhook.ts'

export const adapter: Adapter<SmsProtocol, SmsOptions> = {
  async start(options, services) {
    const host = services.httpHost(options.address, options.tls)
    const consent = new ConsentStore(path.join(services.data, 'sms-consent.sqlite'))
    const outbox = new Outbox(carrierOf(options, services))
    const desk = new Desk({ services, options, consent, outbox })
    let closing = false

    const serve = (suffix: string, handle: Desk['message']) => {
      const url = publicUrlOf(options, suffix)
      const { authToken: tokens } = options.provider.twilio
      const { maxBodySize, bodyTimeout } = options
      host.onRequest(options.path + suffix, (request, response) => {
        answerTo(request, response).catch((error: unknown) => {
          services.log.error({ err: error }, 'a request to the SMS webhook could not be answered')
          write(response, sentence(500, 'The gateway failed.'))
        })
      })
      async function answerTo(request: IncomingMessage, response: ServerResponse): Promise<void> {
        const received = await receive(request, { url, tokens, maxBodySize, bodyTimeout })
        if ('gone' in received) return
        if ('cut' in received) return answerAndClose(request, response, received.cut)
        if ('refusal' in received) {
          const { status } = received.refusal
          // Who has set the wrong publicUrl or token sees here what was expected.
          services.log.warn(
            { status, url, client: request.socket.remoteAddress },
            'refused a request to the SMS webhook',
          )
          return write(response, received.refusal)
        }
        // Twilio asks its fallback URL then, or another instance.
        if (closing) return write(response, sentence(503, 'The gateway is closing.', { connection: 'close' }))
        handle(received.parameters, request, response)
      }
    }
    serve('', desk.message)
    serve('/status', desk.status)

    return {
      get urls() {
        return [host.url + options.path]
      },
      example: 'npx signalbox send sms +14155550100 "TEMP kitchen"',
      get connections() {
        return desk.open
      },
      async close(signal) {
        closing = true
        await desk.close(signal)
        await outbox.close(signal)
        consent.close()
      },
    } satisfies Listener
  },
}

/** What Twilio was told to call. */
function publicUrlOf(options: SmsOptions, suffix: string): string {
  return options.provider.twilio.publicUrl + options.path + suffix
}

function carrierOf(options: SmsOptions, { data, log }: Services<SmsProtocol>): Carrier {
  const { twilio } = options.provider
  const { accountSid } = twilio
  if (accountSid === undefined) return new FileCarrier(path.join(data, 'outbox', 'sms.jsonl'), log)
  return new TwilioCarrier({ ...twilio, accountSid, statusCallback: publicUrlOf(options, '/status') }, log)
}
