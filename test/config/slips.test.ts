/** Slips of someone who writes the YAML by hand: each is told once, where it was made, and with what to write instead. */
import { expect, test } from '@jest/globals'
import { mistakes, withRules, withTop } from '../support/config-text.ts'

const listen = 'listen: { http: }'
const http = (...lines: readonly string[]) => withTop('listen:', '  http:', ...lines.map((line) => `    ${line}`))
const rules = 'application.ProtocolTypeRouter.http.URLRouter'
const unlike = 'found an indentation that no line above has, expected what belongs together to begin in one column'
const colonless = 'found a line without a colon, expected key: value'
const more = 'found more behind a value, expected quotes around the whole value, or # in front of a comment'

test.each<[string, string, string]>([
  ['a key further in than the one above', withTop('listen:', '  http: {}', '   mqtt:'), `3:4 listen.mqtt ${unlike}`],
  ['a key less far in', withTop('listen:', '   http:', '  mqtt:'), `3:3 mqtt ${unlike}`],
  ['an app that is indented unlike its rule', withRules('url: ^\n         app: x'), `12:10 ${rules}[1].app ${unlike}`],
  [
    'a tab between spaces',
    http('maxBody: 1MiB', '\ttimeout: 1s'),
    '4:5 listen.http.maxBody found a tab as indentation, expected spaces',
  ],
  [
    'a tab alone',
    withTop('listen:', '  http:', '    maxBody: 1MiB', '\ttimeout: 1s'),
    '4:1 timeout found a tab as indentation, expected spaces',
  ],
  ['no colon', withTop('listen', '  http:'), `1:1 ${colonless}`],
  ['no colon below', http('maxBody 1MiB'), '3:5 listen.http found "maxBody 1MiB", expected a map'],
  ['no colon beside others', http('timeout: 1s', 'maxBody 1MiB'), `4:5 listen.http ${colonless}`],
  [
    'no space behind a colon',
    http('maxBody:1MiB'),
    '3:5 listen.http found "maxBody:1MiB", expected a map; behind the colon of a key there is a space: "maxBody: …"',
  ],
  [
    'no space behind a colon in braces',
    withTop('listen: { http: { maxBody:1MiB } }'),
    '1:19 listen.http found maxBody without ": " behind it, expected "maxBody: …"',
  ],
  [
    'an equals sign',
    withTop('listen: { http: { maxBody = 1MiB } }'),
    '1:19 listen.http found maxBody without ": " behind it, expected "maxBody: …"',
  ],
  [
    'no comma',
    withTop('listen: { http: { maxBody: 1MiB timeout: 1s } }'),
    '1:28 listen.http.maxBody found a second colon in a value, expected a comma between two settings, or quotes around the value',
  ],
  [
    'no closing brace',
    withTop('listen: { http: { maxBody: 1MiB }'),
    '1:9 listen.http found { that is not closed, expected }',
  ],
  ['a bracket for a brace', withTop('listen: { http: ]'), '1:9 listen.http found { that is not closed, expected }'],
  [
    'a brace too many',
    withTop('listen: { http: }}'),
    '1:18 listen.http found } that closes nothing, expected { before it',
  ],
  ['no closing quote', withTop(listen, 'data: "./data'), '2:7 data found " that is not closed, expected another "'],
  ['a quote too many', withTop(listen, 'data: "./data""'), `2:15 data ${more}`],
  [
    'typographic quotes',
    http('address: “127.0.0.1:1”'),
    '3:14 listen.http.address found "“127.0.0.1:1”", expected host:port, such as 127.0.0.1:8000; quotes are " or \', not those of a printed text',
  ],
  ['a comment of another language', withTop(listen, 'data: [a] // here'), `2:11 data[0] ${more}`],
  ['an expression that begins with a bracket', withRules('url: [a-z]+'), `11:21 ${rules}[0].url[0] ${more}`],
  [
    'an expression that begins with *',
    withRules('{ url: *.html, app: ./handlers.ts#site }'),
    `11:18 ${rules}[0].url found the alias *.html, expected an anchor &.html above it; text that begins with * stands in quotes`,
  ],
  [
    'a value that begins with @',
    withRules('{ url: @a, app: ./handlers.ts#site }'),
    `11:18 ${rules}[0].url found a value that begins with @, expected quotes around it: '@…'`,
  ],
  [
    '# without quotes',
    withRules('url: #\n          app: ./handlers.ts#site'),
    `11:11 ${rules}[0].url found nothing in front of a comment, expected text`,
  ],
  [
    '# without quotes in braces',
    withRules('{ url: #, app: ./handlers.ts#site }'),
    `11:11 ${rules}[0].url found { that is not closed, expected }; what stands behind a # is a comment, where no quotes are around it`,
  ],
  [
    'no space behind a dash',
    withRules('').replace('- ', '-{ url: ^, app: ./handlers.ts#site }'),
    `11:17 ${rules} found - without a space behind it, expected "- " in front of an item of a list`,
  ],
  [
    'a dash behind its key',
    'listen: { http: }\napplication:\n  URLRouter: - url: ^\n',
    '3:14 application.URLRouter found - behind a key, expected each item in a line of its own, below the key',
  ],
  [
    'a value and a map',
    withTop('listen:', '  http: 127.0.0.1:1', '    maxBody: 1MiB'),
    `2:9 listen.http found a key inside of a value, expected each key in a line of its own, or quotes around the value`,
  ],
  [
    'a space in front of #',
    'listen: { http: }\napplication: ./handlers.ts #site\n',
    '2:14 application found "./handlers.ts", expected file.ts#Export or package#Export; a # behind a space begins a comment',
  ],
  [
    'quotes around half of a value',
    'listen: { http: }\napplication: "./handlers.ts"#site\n',
    '2:29 application found # directly behind a value, expected a space in front of a comment, or quotes around the whole value',
  ],
  [
    'a variable without braces',
    http('address: $HOST:1'),
    '3:14 listen.http.address found "$HOST:1", expected host:port, such as 127.0.0.1:8000; a variable is written ${HOST}',
  ],
])('%s', async (_, text, expected) => {
  expect(await mistakes(text)).toEqual([expected])
})

test('what may be a secret is not shown, also where the space behind its colon is missing', async () => {
  const told = [
    ...(await mistakes(withTop('listen: { http: { token:geheim } }'))),
    ...(await mistakes(http('password:geheim'))),
  ]
  expect(told).toHaveLength(2)
  expect(told.join()).not.toContain('geheim')
})
