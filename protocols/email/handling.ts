/** What delivering a message to one recipient comes to. */
import type { SmtpAnswer } from './answers.ts'
import type { EmailScope } from './scope.ts'
import type { Rejection } from './transport.ts'

export type Handling =
  | { readonly kind: 'handled' }
  | ({ readonly kind: 'rejected'; readonly scope: EmailScope } & Rejection)
  | { readonly kind: 'failed'; readonly answer: SmtpAnswer }
