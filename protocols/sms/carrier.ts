/** What takes a text to where it goes. */
import type { Outgoing } from './outgoing.ts'

export interface Carrier {
  /**
   * Makes one attempt. Answers the provider's id of the message; empty when it has none.
   * @throws SignalboxError `send_failed` when another attempt may help, `permanent` when it cannot.
   */
  carry(message: Outgoing): Promise<string>
}
