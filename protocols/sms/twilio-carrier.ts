/** Messages by the provider's REST interface. */
import type Twilio from 'twilio/lib/rest/Twilio.js'
import type { Log } from '../../src/asgi/context.ts'
import { SignalboxError, permanent, reason } from '../../src/runtime/errors.ts'
import type { Carrier } from './carrier.ts'
import type { Outgoing } from './outgoing.ts'
import type { TwilioOptions } from './options.ts'

/** The person has opted out: Twilio's error code. */
export const optedOut = 21_610

/** The provider's answer to a failed call; without a status the call did not get one. */
interface Refusal {
  readonly status: number | undefined
  readonly code: number | undefined
}

export interface TwilioCarrierOptions extends TwilioOptions {
  readonly accountSid: string
  /** Where reports on a sent message go. */
  readonly statusCallback: string
}

export class TwilioCarrier implements Carrier {
  readonly #options: TwilioCarrierOptions
  readonly #log: Log
  #client: Promise<Twilio> | undefined

  constructor(options: TwilioCarrierOptions, log: Log) {
    this.#options = options
    this.#log = log
  }

  /** At least once: an answer that is lost on its way here means that the message goes out again. */
  async carry(message: Outgoing): Promise<string> {
    try {
      const sid = await this.#create(message)
      this.#log.debug({ to: message.to, sid }, 'a text is handed to Twilio')
      return sid
    } catch (error) {
      const refusal = refusalOf(error)
      const failed = failure(error, refusal)
      throw isPassing(refusal) ? failed : permanent(failed)
    }
  }

  async #create({ from, to, body, media }: Outgoing): Promise<string> {
    this.#client ??= load(this.#options)
    const client = await this.#client
    const { messagingServiceSid, statusCallback } = this.#options
    const created = await client.messages.create({
      from,
      to,
      statusCallback,
      ...(body !== '' && { body }),
      ...(media.length > 0 && { mediaUrl: [...media] }),
      ...(messagingServiceSid !== undefined && { messagingServiceSid }),
    })
    return created.sid
  }
}

/** The client and its 30 MB come with the first message that needs them. */
async function load({ accountSid, authToken, apiUrl }: TwilioCarrierOptions): Promise<Twilio> {
  const { default: Client } = await import('twilio/lib/rest/Twilio.js')
  const client = new Client(accountSid, authToken[0], { timeout: 10_000 })
  if (apiUrl !== undefined) client.api.baseUrl = apiUrl
  return client
}

/** What is known of a failed call. Nothing else is kept of the error: the client's holds the request, with the token. */
function refusalOf(error: unknown): Refusal {
  const { status, code } = (Error.isError(error) ? error : {}) as { status?: unknown; code?: unknown }
  return { status: typeof status === 'number' ? status : undefined, code: typeof code === 'number' ? code : undefined }
}

/** Too many requests, a fault of the provider's, or no answer at all. */
function isPassing({ status }: Refusal): boolean {
  return status === undefined || status === 429 || status >= 500
}

function failure(error: unknown, refusal: Refusal): SignalboxError {
  const code = refusal.code === undefined ? '' : ` (error ${refusal.code})`
  return new SignalboxError('send_failed', `Twilio did not take the text: ${reason(error)}${code}`, { cause: refusal })
}
