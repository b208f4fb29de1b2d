/** SMS by Twilio's webhooks, on the HTTP server of an address: the two paths, and how they start and stop. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import path from 'node:path'
import type { Adapter, Listener, Services } from '../../src/asgi/adapter.ts'
import type { StoredRecord } from '../../src/asgi/delivery.ts'
import { answerAndClose } from '../../src/runtime/http-answer.ts'
import { whenSettled } from '../../src/runtime/settled.ts'
import { Work } from '../../src/runtime/work.ts'
import { shellWord } from '../../src/runtime/shell-word.ts'
import { sentence, write } from './answer.ts'
import type { Carrier } from './carrier.ts'
import { ConsentStore } from './consent.ts'
import { Desk } from './desk.ts'
import { FormReader } from './form.ts'
import { Handling } from './handling.ts'
import { FileCarrier } from './file-carrier.ts'
import type { SmsOptions } from './options.ts'
import { Outbound } from './outbound.ts'
import type { SmsProtocol } from './scope.ts'
import { SentMessages } from './sent.ts'
import { TwilioCarrier } from './twilio-carrier.ts'
import { type Received, receive } from './webhook.ts'

export const adapter: Adapter<SmsProtocol, SmsOptions> = {
  async start(options, services) {
    const host = services.httpHost(options.address, options.tls)
    const consent = new ConsentStore(path.join(services.data, 'sms-consent.sqlite'))
    const sent = new SentMessages(path.join(services.data, 'sms-sent.sqlite'))
    const outbound = new Outbound({ services, options, consent, sent, carrier: carrierOf(options, services) })
    const handling = new Handling({ services, options, outbound })
    const desk = new Desk({ options, services, consent, outbound, handling })
    const { attempts, backoff } = options.provider.twilio
    const work = new Work()
    let closing = false

    const serve = (suffix: string, handle: Desk['message']) => {
      const url = publicUrlOf(options, suffix)
      const { authToken: tokens } = options.provider.twilio
      const { maxBodySize, bodyTimeout } = options
      const rules = { url, tokens, maxBodySize, bodyTimeout, forms: new FormReader() }
      host.onRequest(options.path + suffix, (request, response, endpoints) => {
        receive(request, rules, (received) => {
          try {
            if ('parameters' in received && !closing) handle(received.parameters, endpoints, response)
            else turnAway(request, response, received)
          } catch (error) {
            services.log.error({ err: error }, 'a request to the SMS webhook could not be answered')
            write(response, sentence(500, 'The gateway failed.'))
          }
        })
      })
      function turnAway(request: IncomingMessage, response: ServerResponse, received: Received): void {
        if ('gone' in received) return
        if ('cut' in received) return answerAndClose(request, response, received.cut)
        if ('refusal' in received) {
          const { status } = received.refusal
          services.refused(status)
          // Who has set the wrong publicUrl or token sees here what was expected.
          services.log.warn(
            { status, url, client: request.socket.remoteAddress },
            'refused a request to the SMS webhook',
          )
          return write(response, received.refusal)
        }
        // Twilio asks its fallback URL then, or another instance.
        write(response, sentence(503, 'The gateway is closing.', { connection: 'close' }))
      }
    }
    serve('', desk.message)
    serve('/status', desk.status)

    return {
      get urls() {
        return [host.url + options.path]
      },
      example: {
        address: '+14155550100',
        command: (from, config) => `npx signalbox send sms ${shellWord(from)} "TEMP kitchen"${config}`,
      },
      get connections() {
        return handling.open
      },
      outgoing: { attempts, backoff },
      deliver(record, settled) {
        const stored = record as StoredRecord<SmsProtocol> // the journal keeps the protocols apart
        let scopeId: string | undefined
        const onOpen = (id: string) => (scopeId = id)
        const attempt = stored.direction === 'in' ? handling.attempt(stored, onOpen) : outbound.carry(stored)
        whenSettled(work.add(attempt), (error) => settled(error, scopeId))
      },
      async close(signal) {
        closing = true
        await handling.close(signal)
        await work.over(signal)
        consent.close()
        sent.close()
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
