/** E-mail as the registry holds it. */
import type { ProtocolDefinition } from '../../src/asgi/definition.ts'
import { SignalboxError } from '../../src/runtime/errors.ts'
import { foldAddress } from './address.ts'
import { emailOptions, type EmailOptions } from './options.ts'
import { emailToRouterDefinition } from './router.ts'
import type { EmailProtocol } from './scope.ts'

export const email: ProtocolDefinition<EmailProtocol, EmailOptions> = {
  name: 'email',
  options: emailOptions,
  delivery: ['stored', 'handled'],
  routers: [emailToRouterDefinition],
  load: () => import('./adapter.ts'),
  loadClient: () => import('./client.ts'),
  loadBodyReader: () => import('./body-reader.ts'),
  sendUsage: {
    arguments: [
      { name: 'to', description: 'the recipient, such as help@support.org' },
      { name: 'text', description: 'the text of the message', optional: true },
    ],
    options: [
      { name: 'from', value: 'address', description: 'the sender (default ann@example.org)' },
      { name: 'subject', value: 'text', description: 'the subject (default: the first words of the text)' },
      { name: 'text', value: 'text', description: 'the text, for those who would rather name it' },
      { name: 'file', value: 'file.eml', description: 'a whole message, sent as it is' },
    ],
    example: 'npx signalbox send email help@support.org "My printer is on fire"',
  },
  sampleScope(address) {
    const folded = foldAddress(address)
    if (!folded) {
      throw new SignalboxError(
        'bad_address',
        `expected an address such as help@support.org, found ${JSON.stringify(address)}`,
      )
    }
    return {
      type: 'email',
      client: null,
      server: null,
      recipient: folded.address,
      tag: folded.tag,
      sender: '',
      helo: '',
      secure: false,
    }
  },
}
