/** Every answer of ours on the wire: the code, the enhanced code of RFC 3463, and the words. */

/** Thrown by a hook to answer its command so. */
export class SmtpAnswer extends Error {
  override readonly name = 'SmtpAnswer'
  /** What smtp-server sends. */
  readonly responseCode: number

  /** `text` starts with the enhanced code. */
  constructor(responseCode: number, text: string) {
    super(text)
    this.responseCode = responseCode
  }

  get isTemporary(): boolean {
    return this.responseCode < 500
  }
}

export const answers = {
  closing: () => new SmtpAnswer(421, '4.3.2 The gateway is closing, try again later'),
  tooManyClients: () => new SmtpAnswer(421, '4.3.2 Too many connections, try again later'),
  tooManyFromAddress: () => new SmtpAnswer(421, '4.7.0 Too many connections from your address, try again later'),
  tooManyErrors: () => new SmtpAnswer(421, '4.7.0 Too many errors'),
  slowCommand: () => new SmtpAnswer(421, '4.4.2 No complete command in time'),
  slowData: () => new SmtpAnswer(421, '4.4.2 The message came too slowly'),
  tooManyMessages: () => new SmtpAnswer(451, '4.7.1 Too many messages from your address, try again later'),
  needsUtf8: () => new SmtpAnswer(553, '5.6.7 An address beyond ASCII needs SMTPUTF8'), // RFC 6531 3.5
  badSender: () => new SmtpAnswer(501, '5.1.7 Bad sender address'),
  badRecipient: () => new SmtpAnswer(501, '5.1.3 Bad recipient address'),
  unrouted: () => new SmtpAnswer(550, '5.1.1 No such recipient here'),
  spoolFull: () => new SmtpAnswer(452, '4.3.1 No room for the message now, try again later'),
  tooLarge: (limit: number) => new SmtpAnswer(552, `5.3.4 The message is larger than ${limit} bytes`), // RFC 1870 6.3
  // RFC 5321 2.3.8 and 4.1.1.4: a message that another server might cut in two there is no message.
  bareNewline: (what: string) => new SmtpAnswer(550, `5.6.11 The message has a ${what}; lines end in CR LF`),
  loop: (hops: number) => new SmtpAnswer(554, `5.4.6 The message has come through ${hops} servers: a loop`), // RFC 5321 6.3
  failed: () => new SmtpAnswer(451, '4.3.0 The message could not be handled now, try again later'),
  notStored: () => new SmtpAnswer(452, '4.3.1 The message could not be stored now, try again later'),
  late: () => new SmtpAnswer(451, '4.3.0 The message was not handled in time, try again later'),
  /** The words are an application's. */
  rejected: (code: number, text: string) =>
    new SmtpAnswer(code, /^[45]\.\d{1,3}\.\d{1,3} /.test(text) ? text : `${code < 500 ? '4.7.1' : '5.7.1'} ${text}`),
} as const
