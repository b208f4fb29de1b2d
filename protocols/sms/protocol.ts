/** SMS as the registry holds it. */
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { refuseSms, smsOptions, type SmsOptions } from './options.ts'
import { smsFromRouterDefinition } from './router.ts'
import type { SmsProtocol } from './scope.ts'

export const sms: ProtocolDefinition<SmsProtocol, SmsOptions> = {
  name: 'sms',
  options: smsOptions,
  delivery: ['stored', 'handled'],
  routers: [smsFromRouterDefinition],
  load: () => import('./adapter.ts'),
  loadClient: () => import('./client.ts'),
  sendUsage: {
    arguments: [
      { name: 'from', description: 'the number of the sender, such as +14155550100' },
      { name: 'body', description: 'the text' },
    ],
    options: [
      { name: 'to', value: 'number', description: 'the number it is sent to (default +15005550006)' },
      { name: 'media', value: 'url', description: 'a picture that goes with it' },
    ],
    example: 'npx signalbox send sms +14155550100 "TEMP kitchen"',
  },
  sampleScope(address) {
    if (!/^[^\s\p{Cc}](?:[^\p{Cc}]{0,254}[^\s\p{Cc}])?$/u.test(address)) {
      throw new SignalboxError(
        'bad_address',
        `expected a number such as +14155550100, a short code or a sender name, found ${JSON.stringify(address)}`,
      )
    }
    return {
      type: 'sms',
      kind: 'message',
      client: null,
      server: null,
      from: address,
      to: '',
      messageSid: '',
      accountSid: '',
    }
  },
  refuse: refuseSms,
}
