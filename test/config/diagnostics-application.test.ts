/** Every mistake below `application`: what is named, what it may route, and every kind of rule. */
import { describe, expect, test } from '@jest/globals'
import { mistakes, withApplication, withRules } from '../support/config-text.ts'

const known = 'one of ProtocolTypeRouter, URLRouter, accessLog, timeout, allowedHosts, allowedOrigins'
const anApplication = 'file.ts#Export, or a map with one key that names a router or a middleware'
const urlKey =
  'a regular expression on the path, without its leading slash and without the query, such as ^chat/(?<room>[^/]+)$'

describe('the application', () => {
  const at = 'application.ProtocolTypeRouter'
  test.each<[string, readonly string[], readonly string[]]>([
    [
      'a misspelt router',
      ['http:', '  URLRuter: []'],
      [
        `10:7 ${at}.http.URLRuter found "URLRuter", expected a router or middleware: ${known}, or file.ts#Export; did you mean "URLRouter"?`,
      ],
    ],
    [
      'a misspelt middleware',
      ['http: { acessLog: { app: ./handlers.ts#site } }'],
      [
        `9:13 ${at}.http.acessLog found "acessLog", expected a router or middleware: ${known}, or file.ts#Export; did you mean "accessLog"?`,
      ],
    ],
    [
      'a misspelt protocol',
      ['htpp: ./handlers.ts#site'],
      [
        `9:5 ${at}.htpp found "htpp", expected a protocol: one of http, websocket, mqtt, email, sms, channel, lifespan; did you mean "http"?`,
      ],
    ],
    [
      'two names in one place',
      ['http: { URLRouter: [], accessLog: {} }'],
      [
        `9:11 ${at}.http found 2 keys (URLRouter, accessLog), expected one that names a router or a middleware; what belongs to it is indented below it`,
      ],
    ],
    ['no name', ['http: {}'], [`9:11 ${at}.http found an empty map, expected one that names a router or a middleware`]],
    ['a list', ['http: []'], [`9:11 ${at}.http found a list, expected ${anApplication}`]],
    ['nothing', ['http:'], [`9:5 ${at}.http found nothing, expected ${anApplication}`]],
    [
      'a reference without an export',
      ['http: ./handlers.ts'],
      [`9:11 ${at}.http found "./handlers.ts", expected file.ts#Export or package#Export`],
    ],
    [
      'a router where a reference should be',
      ['http: URLRouter'],
      [
        `9:11 ${at}.http found "URLRouter", expected file.ts#Export or package#Export; a router or a middleware is a key: URLRouter: …`,
      ],
    ],
    [
      'a router of another protocol',
      ['mqtt:', '  URLRouter: [{ url: ^, app: ./handlers.ts#site }]'],
      [
        `10:7 ${at}.mqtt.URLRouter found URLRouter, which routes http and websocket, expected what takes mqtt: TopicRouter`,
      ],
    ],
    [
      'a middleware of another protocol',
      ['mqtt:', '  allowedHosts: { hosts: [a], app: ./handlers.ts#site }'],
      [`10:7 ${at}.mqtt.allowedHosts found allowedHosts, which is for http and websocket, expected what takes mqtt`],
    ],
    [
      'a middleware without app',
      ['http: { accessLog: {} }'],
      [`9:24 ${at}.http.accessLog found no app, expected app: ${anApplication}`],
    ],
    [
      'a middleware with a wrong option',
      ['http: { accessLog: { level: loud, app: ./handlers.ts#site } }'],
      [`9:33 ${at}.http.accessLog.level found "loud", expected one of debug, info`],
    ],
    [
      'a router without rules',
      ['http: { URLRouter: [] }'],
      [`9:24 ${at}.http.URLRouter found a list, expected a list of rules such as { url: …, app: … }`],
    ],
    [
      'a rule that is none',
      ['http: { URLRouter: [x] }'],
      [`9:25 ${at}.http.URLRouter[0] found "x", expected a rule: a map of one of url, path, and app`],
    ],
  ])('%s', async (_, lines, expected) => {
    expect(await mistakes(withApplication(...lines))).toEqual(expected)
  })

  const rule = `${at}.http.URLRouter[0]`
  test.each<[string, string, readonly string[]]>([
    ['a rule without app', '{ url: ^ }', [`11:11 ${rule} found no app, expected app: ${anApplication}`]],
    [
      'a rule without a match',
      '{ app: ./handlers.ts#site }',
      [`11:11 ${rule} found nothing to match on, expected one of url, path beside app; each - begins another rule`],
    ],
    [
      'a rule with two matches',
      '{ url: ^, path: /, app: ./handlers.ts#site }',
      [`11:21 ${rule}.path found url and path in one rule, expected one of them`],
    ],
    [
      'a time-out without a unit',
      '{ path: /, timeout: 5, app: ./handlers.ts#site }',
      [`11:31 ${rule}.timeout found 5, expected a duration with its unit, such as 500ms, 30s or 5m`],
    ],
    [
      'a misspelt time-out',
      '{ path: /, timout: 5s, app: ./handlers.ts#site }',
      [
        `11:22 ${rule}.timout found the unknown key "timout", expected one of url, path, and app; did you mean "timeout"?`,
      ],
    ],
    [
      'a misspelt match',
      '{ pth: /, app: ./handlers.ts#site }',
      [`11:13 ${rule}.pth found the unknown key "pth", expected one of url, path, and app; did you mean "path"?`],
    ],
    [
      'a bad regular expression',
      '{ url: (, app: ./handlers.ts#site }',
      [`11:18 ${rule}.url found "(" (Invalid regular expression: /(/u: Unterminated group), expected ${urlKey}`],
    ],
    [
      'a number to match',
      '{ url: 12, app: ./handlers.ts#site }',
      [`11:18 ${rule}.url found 12 without quotes, expected "12": ${urlKey}`],
    ],
    [
      'a file that does not exist',
      '{ url: ^, app: ./handler.ts#site }',
      [
        `11:26 ${rule}.app found ./handler.ts, which does not exist, expected a file relative to the YAML; did you mean "./handlers.ts"?`,
      ],
    ],
    [
      'a folder',
      '{ url: ^, app: .#site }',
      [`11:26 ${rule}.app found ., which is no file, expected a .ts or .js file`],
    ],
    [
      'an export that does not exist',
      '{ url: ^, app: ./throws-not.ts#sit }',
      [
        `11:26 ${rule}.app found no export "sit" in ./throws-not.ts, expected one of its exports: site; did you mean "site"?`,
      ],
    ],
    [
      'a file of types alone',
      '{ url: ^, app: ./types.ts#Site }',
      [
        `11:26 ${rule}.app found no export "Site" in ./types.ts, which exports nothing or only types, expected a class or a function`,
      ],
    ],
    [
      'an export that is no application',
      '{ url: ^, app: ./handlers.ts#notAnApplication }',
      [
        `11:26 ${rule}.app found ./handlers.ts#notAnApplication, which is of type number, expected a Consumer class or an application function`,
      ],
    ],
    [
      'a class that is no consumer',
      '{ url: ^, app: ./handlers.ts#NoConsumer }',
      [
        `11:26 ${rule}.app found ./handlers.ts#NoConsumer, which is the class NoConsumer without asApplication, expected a Consumer class or an application function`,
      ],
    ],
    [
      'a consumer that throws',
      '{ url: ^, app: ./handlers.ts#BadConsumer }',
      [`11:26 ${rule}.app found ./handlers.ts#BadConsumer, whose asApplication() throws: the consumer is not ready`],
    ],
    [
      'a file that throws',
      '{ url: ^, app: ./throws.ts#before }',
      [
        `11:26 ${rule}.app found ./throws.ts, which fails to load: the database is not there (line 4), expected it to load`,
      ],
    ],
    [
      'a package that is not installed',
      '{ url: ^, app: left-padding#pad }',
      [
        `11:26 ${rule}.app found the package left-padding, which is not installed, expected an installed package or ./file.ts`,
      ],
    ],
    [
      'a maker that throws',
      '{ url: ^, app: { ./handlers.ts#throwsAtOnce: { app: ./handlers.ts#site } } }',
      [
        `11:28 ${rule}.app../handlers.ts#throwsAtOnce found ./handlers.ts#throwsAtOnce, which throws: I cannot, expected an application`,
      ],
    ],
    [
      'a maker that makes nothing',
      '{ url: ^, app: { ./handlers.ts#makesNothing: [] } }',
      [
        `11:28 ${rule}.app../handlers.ts#makesNothing found ./handlers.ts#makesNothing, which makes undefined, expected an application`,
      ],
    ],
  ])('%s', async (_, line, expected) => {
    expect(await mistakes(withRules(line))).toEqual(expected)
  })

  test.each<[string, string, string]>([
    [
      'mqtt',
      'TopicRouter: [{ topic: "a/#/b", app: ./handlers.ts#site }]',
      '10:30 application.ProtocolTypeRouter.mqtt.TopicRouter[0].topic found "a/#/b" (# may only be the last level), expected a topic filter such as sensors/+room/temperature or alarms/#',
    ],
    [
      'sms',
      'SMSFromRouter: [{ phone: +1, app: ./handlers.ts#site }]',
      '10:32 application.ProtocolTypeRouter.sms.SMSFromRouter[0].phone found +1 without quotes, expected "+1": a phone prefix in quotes such as "+1"',
    ],
    [
      'sms',
      'SMSFromRouter: [{ phone: "49", app: ./handlers.ts#site }]',
      '10:32 application.ProtocolTypeRouter.sms.SMSFromRouter[0].phone found "49" (no plus sign in front), expected a phone prefix in quotes such as "+1"',
    ],
  ])('a value that %s cannot match on', async (protocol, line, expected) => {
    expect(await mistakes(withApplication(`${protocol}:`, `  ${line}`))).toEqual([expected])
  })

  test('what is not wrong but worth a look is a warning, and the gateway starts', async () => {
    const text = withApplication('email:', "  EmailToRouter: [{ regex: '@support.org', app: ./handlers.ts#site }]")
    expect(await mistakes(text)).toEqual([
      '10:32 application.ProtocolTypeRouter.email.EmailToRouter[0].regex the expression is not anchored: it also matches @support.org.example',
    ])
  })
})
