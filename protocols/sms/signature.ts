/** Whether Twilio has signed a request: HMAC-SHA1 with the account's token, over the URL and every parameter. */
import { timingSafeEqual } from 'node:crypto'
import { getExpectedTwilioSignature, validateRequest } from 'twilio/lib/webhooks/webhooks.js'

export interface Signed {
  /** With its query, as it was called. */
  readonly url: string
  /** Names and values in the order of the names and without a separator, as the scheme has them. */
  readonly joined: string
}

/**
 * Mostly the URL is signed as it stands, and the package would first take it apart and put it together again, at twice the cost. It
 * knows what else may be signed in its place.
 */
export function hasSigned(token: string, { url, joined }: Signed, signature: string): boolean {
  // All parameters as one, whose name is empty.
  const parameters = { '': joined }
  if (isSame(signature, getExpectedTwilioSignature(token, url, parameters))) return true
  try {
    return validateRequest(token, signature, url, parameters)
  } catch {
    return false // it throws on a URL that cannot be parsed
  }
}

/** Its time says nothing of how much of it is right. */
function isSame(given: string, own: string): boolean {
  const [one, other] = [Buffer.from(given), Buffer.from(own)]
  return one.length === other.length && timingSafeEqual(one, other)
}
