/** A protocol whose events are numbers. */
import type { BaseScope, Event, Protocol } from '../../src/asgi/protocol.ts'

export interface Numbered extends Event {
  readonly number?: number
}

export interface TestProtocol extends Protocol {
  readonly scope: BaseScope
  readonly receive: Numbered
  readonly send: Numbered
}
