// SPDX-License-Identifier: MIT
#include "tool/tool.h"

#include <cstdio>

#include "util/text.h"

namespace rhea::tool {

namespace {

struct Subject {
  const char* name;
  Result<std::string> (*run)(const Words& words, int& status);
  const char* usage;
};

constexpr Subject kSubjects[] = {
    {"lan", lan_command,
     "  rhea lan list                the LANs of this user (-netdev lan,name=...) and their guests\n"
     "  rhea lan show NAME [--json]  the guests of one, with what they sent and got\n"
     "  rhea lan exec NAME COMMAND   a program of this host in it, without root: rhea lan exec lab ssh root@bob\n"
     "  rhea lan proxy NAME [AT]     SOCKS5 and HTTP into it, at [ADDRESS:]PORT (127.0.0.1:1080) or unix:PATH:\n"
     "                               curl -x socks5h://127.0.0.1:1080 http://bob/\n"},
    {"net", net_command,
     "  rhea net plan|up KIND NAME [key=value ...]\n"
     "                               a network of the host for guests: shown, or made, as root. KIND:\n"
     "      nat, host-only           a bridge NAME (-nic bridge,br=NAME), or a tap with tap=USER (-nic "
     "tap,ifname=NAME)\n"
     "                               keys: net=192.168.177.0/24 host=192.168.177.1 dhcp=on|dnsmasq|rhea|off\n"
     "                               lease=MAC=ADDRESS[=NAME] forward=tcp:8080-192.168.177.5:80\n"
     "      bridged                  over=NIC: a bridge that takes in a NIC, with its addresses and routes\n"
     "                               confirm=SECONDS: all is undone unless rhea net keep NAME comes in time\n"
     "                               bridges: stp=off delay=2 hello=2 mac=\n"
     "                               plan: form=netplan|ifupdown|networkmanager|host writes the host's own "
     "configuration\n"
     "      macvtap                  over=NIC: an interface beside a NIC, on its network (-nic tap,ifname=NAME)\n"
     "                               keys: tap=USER mode=bridge|private|vepa mac=\n"
     "  rhea net keep NAME           confirms it\n"
     "  rhea net down NAME           undoes it\n"
     "  rhea net status              what was made, and what of it is there\n"
     "  rhea net doctor              what guests would trip over on this host, and what helps\n"},
    {"vhost-user", vhost_user_command,
     "  rhea vhost-user serve --socket PATH|--connect PATH --netdev TYPE,...\n"
     "                               a network of this process for a guest of Rhea or QEMU that has -chardev\n"
     "                               socket,id=c0,path=PATH -netdev vhost-user,id=n0,chardev=c0; --connect is for one\n"
     "                               with server=on. --name NAME: what the guest is called (-netdev lan)\n"},
};

std::string usage() {
  std::string text = "usage: rhea SUBJECT VERB ...\n\n";
  for (const Subject& subject : kSubjects) text += subject.usage;
  return text;
}

}  // namespace

Error unknown_verb(const std::string& subject, const Words& words, const std::vector<std::string>& verbs) {
  const std::string list = join(verbs, ", ");
  if (words.empty()) return Error("rhea {} needs a verb: {}", subject, list);
  return Error("rhea {} has no '{}'{}: there are {}", subject, words[0], did_you_mean(words[0], verbs), list);
}

int run(const Words& words) {
  if (words.empty() || words[0] == "help" || words[0] == "--help" || words[0] == "-h") {
    std::fputs(usage().c_str(), words.empty() ? stderr : stdout);
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "--version" || words[0] == "-V") {
    std::printf("rhea version %s\n", RHEA_VERSION);
    return 0;
  }
  std::vector<std::string> names;
  for (const Subject& subject : kSubjects) {
    names.emplace_back(subject.name);
    if (words[0] != subject.name) continue;
    int status = 0;
    const Result<std::string> text = subject.run({words.begin() + 1, words.end()}, status);
    if (text.ok()) {
      std::fputs(text.value().c_str(), stdout);
      return std::fflush(stdout) == 0 ? status : 1;
    }
    std::fprintf(stderr, "rhea: %s\n", text.error().message().c_str());
    if (!text.error().hint().empty()) std::fprintf(stderr, "%s\n", text.error().hint().c_str());
    return 1;
  }
  std::fprintf(stderr, "rhea: there is no '%s'%s: there is %s\n%s", words[0].c_str(),
               did_you_mean(words[0], names).c_str(), join(names, ", ").c_str(), usage().c_str());
  return 2;
}

}  // namespace rhea::tool
