/** The webhook's answer in the provider's words. */
import MessagingResponse from 'twilio/lib/twiml/MessagingResponse.js'
import type { Outgoing } from './outgoing.ts'

/** All replies in one document, in their order; `<Response/>` when there are none. */
export function twiml(replies: readonly Pick<Outgoing, 'body' | 'media'>[]): string {
  const response = new MessagingResponse()
  for (const { body, media } of replies) {
    if (media.length === 0) {
      response.message(body)
      continue
    }
    const message = response.message('')
    if (body !== '') message.body(body)
    for (const url of media) message.media(url)
  }
  return response.toString()
}
