/** The chat: one group, and everyone in it sees every line. */
import { WebsocketConsumer } from 'signalbox'
import { oneLine } from './clean.ts'

/** Sent to the group `chat` by whoever has something to say: a socket here, another handler, another process. */
interface ChatMessage {
  readonly type: 'chat.message'
  readonly text: string
}

const longestName = 32
const longestLine = 1000

export class ChatConsumer extends WebsocketConsumer {
  override readonly groups = ['chat']
  // The scope's own state: an instance lives as long as its socket.
  #name = 'Anonymous'

  override async connect(): Promise<void> {
    this.#name = nameIn(this.scope.queryString)
    await this.accept()
    await this.sendText(`[Welcome ${this.#name}!]`)
  }

  override async receiveText(text: string): Promise<void> {
    const line = oneLine(text, longestLine + 1)
    if (line === '') return
    if (Array.from(line).length > longestLine) return this.sendText(`[A line has at most ${longestLine} characters.]`)
    await this.groupSend<ChatMessage>('chat', { type: 'chat.message', text: `${this.#name}: ${line}` })
  }

  override async receiveBytes(): Promise<void> {
    await this.sendText('[This chat takes text, not bytes.]')
  }

  async 'chat.message'({ text }: ChatMessage): Promise<void> {
    await this.sendText(text)
  }
}

/** `?name=ann`; without a colon, which would let a name look like somebody else's line. */
export function nameIn(queryString: string): string {
  const name = new URLSearchParams(queryString).get('name') ?? ''
  return oneLine(name.replaceAll(':', ' '), longestName) || 'Anonymous'
}
